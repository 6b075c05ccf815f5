#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/grpc_call.h"
#include "rpc/health.h"
#include "rpc/method.h"

namespace virtufin::rpc {

/// The services that the gRPC server answers itself: grpc.health.v1 and reflection v1 and v1alpha.
/// They are asked before admission: health is always answered.
///
/// Health of a service is the process's: known by name if the table has it.
/// Threads: the completion queue's.
class OwnServices {
 public:
  OwnServices(const MethodTable& methods, const Health& health)
      : methods_(methods), health_(health) {}

  /// Takes the call if it is one of ours.
  bool serve(std::string_view name, const std::shared_ptr<GrpcCall>& call);

  /// Tells watchers of health what changed. True while there are streams to come back for.
  bool tick();
  /// Ends the streams that would not end by themselves.
  void drain();

 private:
  struct Watch {
    std::shared_ptr<GrpcCall> call;
    std::string service;
    int told = -1;  ///< the status last sent
    bool busy = false;
  };

  void check(const std::shared_ptr<GrpcCall>& call);
  void watch(const std::shared_ptr<GrpcCall>& call);
  void reflect(const std::shared_ptr<GrpcCall>& call);
  int status_of(const std::string& service) const;
  static void tell(const std::shared_ptr<Watch>& watch, int status);

  const MethodTable& methods_;
  const Health& health_;
  bool draining_ = false;
  std::vector<std::shared_ptr<Watch>> watches_;
  std::vector<std::weak_ptr<GrpcCall>> reflections_;
};

}  // namespace virtufin::rpc

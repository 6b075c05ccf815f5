#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/call_metrics.h"
#include "rpc/http_route.h"
#include "rpc/method.h"
#include "rpc/router.h"
#include "rpc/transcoder.h"

namespace virtufin::rpc {

/// A route that is not a method's.
struct CustomRoute {
  std::string verb;
  std::string path_template;
  HttpHandler handler;
  bool always = false;  ///< health and metrics: answered without being admitted
  std::shared_ptr<MethodStats> stats;
};

/// What the HTTP server answers, made of its own routes and of the table's annotations as they were
/// at one version of it.
///
/// Threads: read from any, once made.
class RestTable {
 public:
  struct Target {
    const CustomRoute* custom = nullptr;  ///< or
    std::unique_ptr<Transcoding> method;
    std::shared_ptr<MethodStats> stats;
  };

  /// `custom` outlives it. A row whose annotation does not fit is left out, with a warning.
  RestTable(const MethodTable& methods, const std::deque<CustomRoute>& custom,
            CallMetrics& metrics);

  std::uint64_t version() const { return version_; }
  const Router& router() const { return router_; }
  const Target& target(std::size_t index) const { return targets_[index]; }

 private:
  void add(const MethodPtr& method, const google::api::HttpRule& rule, CallMetrics& metrics);

  std::uint64_t version_;
  std::vector<MethodPtr> rows_;  ///< first: their descriptors outlive the dynamic messages
  const std::shared_ptr<JsonCodec> codec_ = std::make_shared<JsonCodec>();
  const std::shared_ptr<google::protobuf::MessageFactory> dynamic_ =
      std::make_shared<google::protobuf::DynamicMessageFactory>();
  Router router_;
  std::vector<Target> targets_;
};

}  // namespace virtufin::rpc

#pragma once

#include <memory>
#include <string>

#include "modules/workmanager/config.h"
#include "modules/workmanager/engines/engine.h"
#include "rpc/method.h"

namespace virtufin::workmanager::native {

class MethodAccess;

/// Shared libraries in this process, by the C ABI of sdk/c/virtufin_worker.h. A worker that crashes
/// takes the process with it: trusted code.
class NativeEngine final : public Engine {
 public:
  NativeEngine(CodeLimits limits, std::string code_dir, const rpc::MethodTable& methods);
  ~NativeEngine() override;

  bool accepts(std::string_view mime_type) const override;
  std::string_view mime_type() const override { return "application/x-native-dll"; }
  std::string_view label() const override { return "Native"; }
  absl::StatusOr<std::shared_ptr<WorkerCode>> load(const LoadRequest& request) override;

 private:
  CodeLimits limits_;
  std::string code_dir_;
  std::shared_ptr<MethodAccess> methods_;
};

}  // namespace virtufin::workmanager::native

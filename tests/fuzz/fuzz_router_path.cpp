// Any path template and any path: no crash; what is found again fits the template it was found by.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "rpc/router.h"

namespace {

using virtufin::rpc::Router;

const Router& fixed() {
  static const Router* const kRouter = [] {
    auto* router = new Router;
    std::size_t target = 0;
    for (const char* path : {"/v1/state/{service}/{key=**}", "/v1/state/{service}/query",
                             "/v1/connections/{id}/tags/{key}", "/v1/{name=a/*/b/*}:close", "/"}) {
      if (!router->add("GET", path, target++).ok()) std::abort();
    }
    return router;
  }();
  return *kRouter;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto match = fixed().match("GET", text);
  if (match.ok()) {
    const std::size_t captures[] = {2, 1, 2, 1, 0};
    if (match->target >= 5 || match->captures.size() != captures[match->target]) std::abort();
  }
  // The first line as a template, the second as a path.
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos) return 0;
  Router router;
  if (router.add("GET", text.substr(0, line), 7).ok()) {
    const auto found = router.match("GET", text.substr(line + 1));
    if (found.ok() && found->target != 7) std::abort();
  }
  return 0;
}

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/time.h"

namespace virtufin::venue {

class Exchange;

/// A request's target, decoded: `/api/v3/depth` and its query.
struct Target {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;

  /// Nothing if the percent encoding is broken.
  static std::optional<Target> parse(std::string_view text);
  /// The first value of a key; nothing if it is not there.
  std::optional<std::string_view> value(std::string_view key) const;
};

/// An answer of the REST endpoints, errors in Binance's form `{"code":…,"msg":"…"}`.
struct RestAnswer {
  int status = 200;
  std::string body;
};
RestAnswer rest_error(int status, int code, std::string_view text);

/// GET of a target. On the venue's loop.
RestAnswer answer_rest(const Exchange& exchange, const Target& target, TimePoint now);

}  // namespace virtufin::venue

#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

#include "core/event.h"

namespace virtufin {
class RoutingFilter;
}

namespace virtufin::gateway {

/// A stream's filter on what routing is decided on. Immutable. Threads: any.
class StreamFilter {
 public:
  /// INVALID_ARGUMENT for a clock type that no event can have.
  static absl::StatusOr<StreamFilter> create(const RoutingFilter& filter);

  StreamFilter() = default;  ///< takes everything
  bool accepts(const Event& event) const;

 private:
  /// Exact, or a prefix that was written with a `*` at its end.
  struct Rule {
    std::string text;
    bool prefix = true;  ///< with an empty text: anything
    explicit Rule(std::string_view pattern = "*");
    bool accepts(std::string_view value) const {
      return prefix ? value.substr(0, text.size()) == text : value == text;
    }
  };

  bool everything_ = true;
  Rule type_, subject_, scenario_id_, clock_type_;
};

}  // namespace virtufin::gateway

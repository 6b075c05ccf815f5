#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace virtufin::rpc {

/// `%41` as `A`; in a query also `+` as a space. Nothing if an escape is broken.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space = false);

/// `a=1&b=x%20y`, decoded, in order; a name without `=` has an empty value. Nothing if an escape is
/// broken.
std::optional<std::vector<std::pair<std::string, std::string>>> parse_query(std::string_view query);

}  // namespace virtufin::rpc

#include "modules/wsm/net/url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::wsm {
namespace {

constexpr std::size_t kMaxUrl = 16'384;  // a combined stream of many symbols is long

struct Scheme {
  std::string_view prefix;
  bool tls;
};
constexpr Scheme kSchemes[] = {
    {"ws://", false}, {"wss://", true}, {"http://", false}, {"https://", true}};

constexpr std::uint16_t default_port(bool tls) { return tls ? 443 : 80; }

}  // namespace

absl::StatusOr<Url> Url::parse(std::string_view text) {
  const auto bad = [&](std::string_view what) {
    return invalid_argument("url: '{}' {}; give ws://host[:port]/path or wss://…", printable(text),
                            what);
  };
  if (text.empty()) return invalid_argument("url: none was given; give ws:// or wss://");
  if (text.size() > kMaxUrl) {
    return invalid_argument("url: {} bytes long, at most {} are taken", text.size(), kMaxUrl);
  }
  if (std::any_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c >= 0x7f; })) {
    return bad("has a character that must be percent-encoded");
  }
  Url url;
  const auto* scheme =
      std::find_if(std::begin(kSchemes), std::end(kSchemes),
                   [&](const Scheme& candidate) { return text.starts_with(candidate.prefix); });
  if (scheme == std::end(kSchemes)) return bad("has no scheme that we speak");
  url.tls = scheme->tls;
  text.remove_prefix(scheme->prefix.size());
  text = text.substr(0, text.find('#'));

  const std::size_t path = std::min(text.find_first_of("/?"), text.size());
  std::string_view authority = text.substr(0, path);
  const std::string_view target = text.substr(path);
  if (authority.find('@') != std::string_view::npos) {
    return invalid_argument("url: has credentials in it; give them in headers");
  }

  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return bad("has an open bracket");
    url.host = authority.substr(1, close - 1);
    authority.remove_prefix(close + 1);
    if (!authority.empty() && authority[0] != ':') return bad("has no port behind the bracket");
    has_port = !authority.empty();
    port = has_port ? authority.substr(1) : authority;
  } else {
    const std::size_t colon = authority.find(':');
    has_port = colon != std::string_view::npos;
    url.host = authority.substr(0, colon);
    if (has_port) port = authority.substr(colon + 1);
  }
  if (url.host.empty()) return bad("has no host");
  url.port = default_port(url.tls);
  if (has_port) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc{} || end != port.data() + port.size() || url.port == 0) {
      return bad("has no port between 1 and 65535");
    }
  }
  url.target = target.starts_with('/') ? std::string(target) : "/" + std::string(target);
  return url;
}

std::string_view Url::query() const {
  const std::size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view{} : std::string_view(target).substr(mark + 1);
}

std::string Url::authority() const {
  const std::string shown = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == default_port(tls) ? shown : fmt::format("{}:{}", shown, port);
}

}  // namespace virtufin::wsm

#include "modules/venue/rest.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "core/errors.h"
#include "core/log.h"
#include "modules/venue/exchange.h"

namespace virtufin::venue {
namespace {

// Binance's own error codes.
constexpr int kMalformedParameter = -1102, kIllegalParameter = -1130, kBadSymbol = -1121;

struct DepthRoute {
  std::string_view path;
  Dialect dialect;
  std::size_t default_limit, max_limit;
};
constexpr DepthRoute kDepthRoutes[] = {{"/api/v3/depth", Dialect::kSpot, 100, 5000},
                                       {"/fapi/v1/depth", Dialect::kFutures, 500, 1000}};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return {};
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return {};
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

RestAnswer answer_depth(const Exchange& exchange, const DepthRoute& route, const Target& target,
                        TimePoint now) {
  const Market* market = exchange.find(route.dialect);
  if (market == nullptr) {
    return rest_error(
        404, kIllegalParameter,
        fmt::format("market {} is not played; see venue.markets", venue::name(route.dialect)));
  }
  const auto symbol = target.value("symbol");
  if (!symbol || symbol->empty()) {
    return rest_error(400, kMalformedParameter,
                      "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.");
  }
  std::size_t limit = route.default_limit;
  if (const auto text = target.value("limit")) {
    const auto parsed = std::from_chars(text->data(), text->data() + text->size(), limit);
    if (parsed.ec != std::errc() || parsed.ptr != text->data() + text->size() || limit == 0) {
      return rest_error(400, kIllegalParameter, "Data sent for parameter 'limit' is not valid.");
    }
    limit = std::min(limit, route.max_limit);
  }
  auto body = market->source().depth(*symbol, limit, now);
  if (!body.ok()) return rest_error(400, kBadSymbol, "Invalid symbol.");
  return {200, *std::move(body)};
}

}  // namespace

std::optional<Target> Target::parse(std::string_view text) {
  Target target;
  const std::size_t mark = text.find('?');
  auto path = percent_decode(text.substr(0, mark));
  if (!path) return {};
  target.path = *std::move(path);
  std::string_view rest =
      mark == std::string_view::npos ? std::string_view() : text.substr(mark + 1);
  while (!rest.empty()) {
    const std::size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    const std::size_t equals = pair.find('=');
    auto key = percent_decode(pair.substr(0, equals));
    auto value = percent_decode(equals == std::string_view::npos ? std::string_view()
                                                                 : pair.substr(equals + 1));
    if (!key || !value) return {};
    target.query.emplace_back(*std::move(key), *std::move(value));
  }
  return target;
}

std::optional<std::string_view> Target::value(std::string_view key) const {
  for (const auto& [name, value] : query) {
    if (name == key) return value;
  }
  return {};
}

RestAnswer rest_error(int status, int code, std::string_view text) {
  return {status, fmt::format(R"({{"code":{},"msg":"{}"}})", code, text)};
}

RestAnswer answer_rest(const Exchange& exchange, const Target& target, TimePoint now) {
  for (const DepthRoute& route : kDepthRoutes) {
    if (target.path == route.path) return answer_depth(exchange, route, target, now);
  }
  return rest_error(404, kIllegalParameter,
                    "the simulated exchange serves /api/v3/depth, /fapi/v1/depth, /stream and /ws");
}

}  // namespace virtufin::venue

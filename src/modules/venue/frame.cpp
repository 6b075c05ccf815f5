#include "modules/venue/frame.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <utility>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::venue {
namespace {

namespace ondemand = simdjson::ondemand;

/// What a JSON reader that knows only doubles can hold; leaves room for the shifts of many laps.
constexpr std::int64_t kMaxNumber = std::int64_t{1} << 53;

/// The numbers of an event's `data` that are times and ids, by field name.
struct Field {
  std::string_view name;
  SlotKind kind;
};
constexpr Field kDepthFields[] = {{"E", SlotKind::kTimeMs},
                                  {"T", SlotKind::kTimeMs},
                                  {"U", SlotKind::kUpdateId},
                                  {"u", SlotKind::kUpdateId},
                                  {"pu", SlotKind::kUpdateId}};
constexpr Field kBookTickerFields[] = {
    {"E", SlotKind::kTimeMs}, {"T", SlotKind::kTimeMs}, {"u", SlotKind::kUpdateId}};
constexpr Field kAggregateTradeFields[] = {{"E", SlotKind::kTimeMs},
                                           {"T", SlotKind::kTimeMs},
                                           {"a", SlotKind::kAggregateId},
                                           {"f", SlotKind::kTradeId},
                                           {"l", SlotKind::kTradeId}};
constexpr Field kTradeFields[] = {
    {"E", SlotKind::kTimeMs}, {"T", SlotKind::kTimeMs}, {"t", SlotKind::kTradeId}};
constexpr Field kKlineFields[] = {{"E", SlotKind::kTimeMs}};
constexpr Field kKlineInnerFields[] = {{"t", SlotKind::kTimeMs},
                                       {"T", SlotKind::kTimeMs},
                                       {"f", SlotKind::kTradeId},
                                       {"L", SlotKind::kTradeId}};
constexpr Field kTickerFields[] = {{"E", SlotKind::kTimeMs},
                                   {"O", SlotKind::kTimeMs},
                                   {"C", SlotKind::kTimeMs},
                                   {"F", SlotKind::kTradeId},
                                   {"L", SlotKind::kTradeId}};
constexpr Field kMarkPriceFields[] = {{"E", SlotKind::kTimeMs}, {"T", SlotKind::kTimeMs}};

std::span<const Field> fields_of(Channel channel) {
  switch (channel) {
    case Channel::kDepth: return kDepthFields;
    case Channel::kBookTicker: return kBookTickerFields;
    case Channel::kAggregateTrade: return kAggregateTradeFields;
    case Channel::kTrade: return kTradeFields;
    case Channel::kKline: return kKlineFields;
    case Channel::kTicker: return kTickerFields;
    case Channel::kMarkPrice: return kMarkPriceFields;
  }
  return {};
}

std::optional<Channel> channel_of(std::string_view stream) {
  const std::size_t at = stream.find('@');
  if (at == std::string_view::npos) return {};
  const std::string_view rest = stream.substr(at + 1);
  if (rest == "depth" || rest.starts_with("depth@")) return Channel::kDepth;
  if (rest == "bookTicker") return Channel::kBookTicker;
  if (rest == "aggTrade") return Channel::kAggregateTrade;
  if (rest == "trade") return Channel::kTrade;
  if (rest.starts_with("kline_")) return Channel::kKline;
  if (rest == "ticker") return Channel::kTicker;
  if (rest == "markPrice" || rest.starts_with("markPrice@")) return Channel::kMarkPrice;
  return {};
}

std::optional<std::int64_t> integer(std::string_view token) {
  while (!token.empty() && (token.back() == ' ' || token.back() == '\t')) token.remove_suffix(1);
  std::int64_t value = 0;
  const auto parsed = std::from_chars(token.data(), token.data() + token.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != token.data() + token.size()) return {};
  return value;
}

/// `[["price","quantity"],…]`; each side is bounded by the frame's own size.
absl::StatusOr<std::vector<Level>> read_levels(ondemand::value value) {
  std::vector<Level> levels;
  ondemand::array rows;
  if (value.get_array().get(rows) != simdjson::SUCCESS) {
    return invalid_argument("a side of the book is no array");
  }
  for (auto row : rows) {
    ondemand::array pair;
    if (row.get_array().get(pair) != simdjson::SUCCESS) {
      return invalid_argument("a level is no array [price, quantity]");
    }
    std::string_view parts[2];
    std::size_t count = 0;
    for (auto part : pair) {
      std::string_view text;
      if (part.get_string().get(text) != simdjson::SUCCESS) {
        return invalid_argument("a level holds something else than two strings");
      }
      if (count < 2) parts[count] = text;
      ++count;
    }
    auto level = count == 2 ? Level::parse(parts[0], parts[1]) : std::nullopt;
    if (!level) {
      return invalid_argument("level ['{}', '{}'] is no pair of decimal numbers",
                              printable(parts[0]), printable(parts[1]));
    }
    levels.push_back(*std::move(level));
  }
  return levels;
}

absl::Status malformed(simdjson::error_code error) {
  return invalid_argument("no JSON frame: {}", simdjson::error_message(error));
}

}  // namespace

std::string_view name(Dialect dialect) {
  return dialect == Dialect::kSpot ? "binance" : "binance-futures";
}

/// One walk over a frame, noting where its numbers stand.
struct PreparedFrame::Parser {
  PreparedFrame& frame;
  const char* base;

  absl::Status fields(ondemand::object object, std::span<const Field> wanted) {
    for (auto entry : object) {
      std::string_view key;
      ondemand::value value;
      if (const auto error = entry.unescaped_key().get(key)) return malformed(error);
      if (const auto error = entry.value().get(value)) return malformed(error);
      VIRTUFIN_RETURN_IF_ERROR(field(key, value, wanted));
    }
    return absl::OkStatus();
  }

  absl::Status field(std::string_view key, ondemand::value value, std::span<const Field> wanted) {
    const bool outer = wanted.data() != kKlineInnerFields;
    if (outer && frame.channel_ == Channel::kKline && key == "k") {
      ondemand::object inner;
      if (value.get_object().get(inner) != simdjson::SUCCESS) {
        return invalid_argument("field 'k' is no object");
      }
      return fields(inner, kKlineInnerFields);
    }
    if (outer && frame.channel_ == Channel::kDepth && (key == "b" || key == "a")) {
      auto levels = read_levels(value);
      if (!levels.ok()) return with_context(levels.status(), key);
      (key == "b" ? frame.depth_.change.bids : frame.depth_.change.asks) = *std::move(levels);
      return absl::OkStatus();
    }
    if (outer && key == "s") {
      std::string_view symbol;
      if (value.get_string().get(symbol) != simdjson::SUCCESS || symbol.empty()) {
        return invalid_argument("field 's' is no symbol");
      }
      frame.symbol_ = symbol;
      return absl::OkStatus();
    }
    const auto known = std::find_if(wanted.begin(), wanted.end(),
                                    [&](const Field& field) { return field.name == key; });
    if (known == wanted.end()) return absl::OkStatus();
    const std::string_view token = value.raw_json_token();
    const auto number = integer(token);
    if (!number || *number > kMaxNumber) {
      return invalid_argument("field '{}' is '{}', no integer up to 2^53", key, printable(token));
    }
    if (frame.channel_ == Channel::kDepth) note_depth(key, *number);
    if (outer && key == "E") frame.event_time_ms_ = *number;
    if (*number < 0) return absl::OkStatus();
    const auto begin = static_cast<std::uint32_t>(token.data() - base);
    std::uint32_t end = begin;
    while (base[end] >= '0' && base[end] <= '9') ++end;
    frame.slots_.push_back({begin, end, *number, known->kind});
    return absl::OkStatus();
  }

  void note_depth(std::string_view key, std::int64_t number) {
    if (key == "U") frame.depth_.first = number;
    if (key == "u") frame.depth_.last = number;
    if (key == "pu") frame.depth_.previous = number;
  }
};

absl::StatusOr<PreparedFrame> PreparedFrame::parse(std::string_view text) {
  PreparedFrame frame;
  frame.text_ = text;
  const simdjson::padded_string padded(text);
  ondemand::parser parser;
  ondemand::document document;
  if (const auto error = parser.iterate(padded).get(document)) return malformed(error);

  std::string_view stream;
  if (document["stream"].get_string().get(stream) != simdjson::SUCCESS) {
    return invalid_argument("the frame has no text field 'stream'");
  }
  frame.stream_ = stream;
  const auto channel = channel_of(frame.stream_);
  if (!channel) {
    return invalid_argument(
        "stream '{}' is none of depth, bookTicker, aggTrade, trade, kline_*, ticker, markPrice",
        printable(frame.stream_));
  }
  frame.channel_ = *channel;

  ondemand::object data;
  if (document["data"].get_object().get(data) != simdjson::SUCCESS) {
    return invalid_argument("the frame has no object 'data'");
  }
  std::string_view raw;
  if (const auto error = data.raw_json().get(raw)) return malformed(error);
  if (const auto error = data.reset().error()) return malformed(error);
  frame.data_front_ = static_cast<std::size_t>(raw.data() - padded.data());
  while (!raw.empty() && raw.back() != '}') raw.remove_suffix(1);
  frame.data_back_ = text.size() - frame.data_front_ - raw.size();

  Parser walk{frame, padded.data()};
  VIRTUFIN_RETURN_IF_ERROR(walk.fields(data, fields_of(frame.channel_)));
  if (frame.symbol_.empty()) return invalid_argument("the frame has no field 's'");
  std::sort(frame.slots_.begin(), frame.slots_.end(),
            [](const Slot& a, const Slot& b) { return a.begin < b.begin; });
  const Depth& depth = frame.depth_;
  if (frame.channel_ == Channel::kDepth && (depth.first <= 0 || depth.last < depth.first)) {
    return invalid_argument("a depth frame needs ids U and u with 0 < U <= u, found {} and {}",
                            depth.first, depth.last);
  }
  return frame;
}

void PreparedFrame::append(const Shifts& shifts, std::string& out) const {
  constexpr std::size_t kNumberWidth = 20;
  const std::size_t start = out.size();
  out.resize(start + text_.size() + slots_.size() * kNumberWidth);
  char* to = out.data() + start;
  const char* from = text_.data();
  for (const Slot& slot : slots_) {
    to = std::copy(from, text_.data() + slot.begin, to);
    to = std::to_chars(to, to + kNumberWidth,
                       slot.value + shifts[static_cast<std::size_t>(slot.kind)])
             .ptr;
    from = text_.data() + slot.end;
  }
  to = std::copy(from, text_.data() + text_.size(), to);
  out.resize(static_cast<std::size_t>(to - out.data()));
}

void PreparedFrame::rebase(const Shifts& shifts) {
  for (Slot& slot : slots_) slot.value += shifts[static_cast<std::size_t>(slot.kind)];
}

absl::StatusOr<DepthSnapshot> parse_snapshot(std::string_view url, std::string_view body) {
  DepthSnapshot snapshot;
  constexpr std::string_view kKey = "symbol=";
  const std::size_t query = url.find('?');
  const std::size_t at = query == std::string_view::npos ? query : url.find(kKey, query);
  if (at == std::string_view::npos) return invalid_argument("the URL names no symbol");
  const std::string_view rest = url.substr(at + kKey.size());
  snapshot.symbol = rest.substr(0, rest.find('&'));

  const simdjson::padded_string padded(body);
  ondemand::parser parser;
  ondemand::document document;
  ondemand::object object;
  if (const auto error = parser.iterate(padded).get(document)) return malformed(error);
  if (const auto error = document.get_object().get(object)) return malformed(error);
  bool has_id = false;
  for (auto entry : object) {
    std::string_view key;
    ondemand::value value;
    if (const auto error = entry.unescaped_key().get(key)) return malformed(error);
    if (const auto error = entry.value().get(value)) return malformed(error);
    if (key == "bids" || key == "asks") {
      auto levels = read_levels(value);
      if (!levels.ok()) return with_context(levels.status(), key);
      (key == "bids" ? snapshot.levels.bids : snapshot.levels.asks) = *std::move(levels);
    } else if (key == "lastUpdateId" || key == "E" || key == "T") {
      const std::string_view token = value.raw_json_token();
      const auto number = integer(token);
      if (!number || *number < 0 || *number > kMaxNumber) {
        return invalid_argument("field '{}' is '{}', no positive integer", key, printable(token));
      }
      if (key == "lastUpdateId") {
        snapshot.last_update_id = *number;
        has_id = true;
      } else {
        (key == "E" ? snapshot.event_time_ms : snapshot.transaction_time_ms) = *number;
      }
    }
  }
  if (!has_id) return invalid_argument("the snapshot has no 'lastUpdateId'");
  return snapshot;
}

}  // namespace virtufin::venue

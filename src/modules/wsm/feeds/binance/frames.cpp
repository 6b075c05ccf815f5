#include "modules/wsm/feeds/binance/frames.h"

namespace virtufin::wsm::binance {
namespace {

namespace ondemand = simdjson::ondemand;
using ondemand::value;

constexpr std::uint64_t kMaxTimeMs = 253'402'300'799'999;  // the end of year 9999

/// The venue's names of members are one or two letters: as a number, a switch tells them apart.
constexpr unsigned key(const char* name) {
  const auto first = static_cast<unsigned char>(name[0]);
  const auto second = static_cast<unsigned char>(name[1]);
  return second == '\0' || second == '"' ? first : first << 8 | second;
}
constexpr unsigned kOther = 0;  // what need not be read

/// `raw` stands behind the opening quote.
unsigned key_of(const char* raw) {
  if (raw[0] == '"') return kOther;
  return raw[1] == '"' || raw[2] == '"' ? key(raw) : kOther;
}

/// `visit(key, value)` for each member, until it says false. Looking members up by name would cost
/// a search for each, and a turn through the whole object for those that come in another order.
template <class Visit>
bool each_member(Object& object, Visit&& visit) {
  for (auto entry : object) {
    ondemand::field field;
    if (std::move(entry).get(field) != simdjson::SUCCESS) return false;
    if (!visit(key_of(field.key().raw()), field.value())) return false;
  }
  return true;
}

/// Which of the needed members were there.
class Seen {
 public:
  bool operator()(unsigned bit) {
    bits_ |= 1U << bit;
    return true;
  }
  bool all(unsigned count) const { return bits_ == (1U << count) - 1; }

 private:
  unsigned bits_ = 0;
};

/// Twice as fast as simdjson's own on our machines' baseline, where it goes digit by digit.
bool read_number(value value, std::uint64_t& out) {
  const std::string_view token = value.raw_json_token();
  const char* at = read_unsigned(token.data(), out);
  if (at == nullptr) return false;
  const char* const end = token.data() + token.size();
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  return at == end;
}

bool read_time(value value, TimePoint& out) {
  std::uint64_t ms = 0;
  if (!read_number(value, ms) || ms > kMaxTimeMs) return false;
  out = TimePoint(std::chrono::milliseconds(ms));
  return true;
}

bool read_decimal(value value, std::string_view& out) {
  out = decimal_of_token(value.raw_json_token());
  return !out.empty();
}

bool read_bool(value value, bool& out) { return value.get_bool().get(out) == simdjson::SUCCESS; }

bool read_side(value value, std::string_view& text, std::vector<LevelText>& levels) {
  ondemand::array array;
  levels.clear();
  return value.get_array().get(array) == simdjson::SUCCESS &&
         array.raw_json().get(text) == simdjson::SUCCESS && read_levels(text, levels);
}

/// The token is exactly this string.
bool is(value value, std::string_view text) { return unquoted(value.raw_json_token()) == text; }

bool read_candle_body(value nested, CandleFrame& frame) {
  Object object;
  if (nested.get_object().get(object) != simdjson::SUCCESS) return false;
  Seen seen;
  return each_member(object,
                     [&](unsigned name, value value) {
                       switch (name) {
                         case key("T"): return read_time(value, frame.close_time) && seen(0);
                         case key("o"): return read_decimal(value, frame.open) && seen(1);
                         case key("h"): return read_decimal(value, frame.high) && seen(2);
                         case key("l"): return read_decimal(value, frame.low) && seen(3);
                         case key("c"): return read_decimal(value, frame.close) && seen(4);
                         case key("v"): return read_decimal(value, frame.volume) && seen(5);
                         case key("x"): return read_bool(value, frame.closed) && seen(6);
                         default: return true;
                       }
                     }) &&
         seen.all(7);
}

}  // namespace

bool read_depth(Object& data, std::string_view symbol, bool has_previous, DepthFrame& frame) {
  Seen seen;
  if (!has_previous) seen(6);
  return each_member(data,
                     [&](unsigned name, value value) {
                       switch (name) {
                         case key("E"): return read_time(value, frame.time) && seen(0);
                         case key("s"): return is(value, symbol) && seen(1);
                         case key("U"): return read_number(value, frame.first) && seen(2);
                         case key("u"): return read_number(value, frame.last) && seen(3);
                         case key("b"):
                           return read_side(value, frame.bids, frame.bid_levels) && seen(4);
                         case key("a"):
                           return read_side(value, frame.asks, frame.ask_levels) && seen(5);
                         case key("pu"): return read_number(value, frame.previous) && seen(6);
                         default: return true;
                       }
                     }) &&
         seen.all(7) && frame.first <= frame.last;
}

bool read_trade(Object& data, std::string_view symbol, char number_key, TradeFrame& frame) {
  Seen seen;
  return each_member(data,
                     [&](unsigned name, value value) {
                       switch (name) {
                         case key("E"): return read_time(value, frame.time) && seen(0);
                         case key("s"): return is(value, symbol) && seen(1);
                         case key("p"): return read_decimal(value, frame.price) && seen(2);
                         case key("q"): return read_decimal(value, frame.quantity) && seen(3);
                         case key("T"): return read_time(value, frame.trade_time) && seen(4);
                         case key("m"): return read_bool(value, frame.buyer_is_maker) && seen(5);
                         default:
                           return name != static_cast<unsigned char>(number_key) ||
                                  (read_number(value, frame.number) && seen(6));
                       }
                     }) &&
         seen.all(7);
}

bool read_ticker(Object& data, std::string_view symbol, bool has_time, TickerFrame& frame) {
  Seen seen;
  if (!has_time) seen(6);
  return each_member(data,
                     [&](unsigned name, value value) {
                       switch (name) {
                         case key("u"): return read_number(value, frame.number) && seen(0);
                         case key("s"): return is(value, symbol) && seen(1);
                         case key("b"): return read_decimal(value, frame.bid) && seen(2);
                         case key("B"): return read_decimal(value, frame.bid_quantity) && seen(3);
                         case key("a"): return read_decimal(value, frame.ask) && seen(4);
                         case key("A"): return read_decimal(value, frame.ask_quantity) && seen(5);
                         case key("E"): return read_time(value, frame.time.emplace()) && seen(6);
                         default: return true;
                       }
                     }) &&
         seen.all(7);
}

bool read_candle(Object& data, std::string_view symbol, CandleFrame& frame) {
  Seen seen;
  return each_member(data,
                     [&](unsigned name, value value) {
                       switch (name) {
                         case key("E"): return read_time(value, frame.time) && seen(0);
                         case key("s"): return is(value, symbol) && seen(1);
                         case key("k"): return read_candle_body(value, frame) && seen(2);
                         default: return true;
                       }
                     }) &&
         seen.all(3);
}

bool read_snapshot(Object& root, SnapshotBody& body) {
  value id, bids, asks;
  std::string_view text;
  return root["lastUpdateId"].get(id) == simdjson::SUCCESS &&
         read_number(id, body.last_update_id) && root["bids"].get(bids) == simdjson::SUCCESS &&
         read_side(bids, text, body.bids) && root["asks"].get(asks) == simdjson::SUCCESS &&
         read_side(asks, text, body.asks);
}

}  // namespace virtufin::wsm::binance

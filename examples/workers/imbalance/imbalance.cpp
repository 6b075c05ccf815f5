#include <cmath>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "book.h"
#include "payload.h"
#include "virtufin/worker.h"

/// Order-flow imbalance: (bid_qty - ask_qty) / (bid_qty + ask_qty) at the best bid and ask of the
/// worker's own book. Above 0.6 it buys at the best ask, below -0.6 it sells at the best bid,
/// quantity 1, once; it is armed again when the absolute value falls under 0.2 or the other
/// threshold is crossed.
///
/// Input: `orderbook.snapshot`, `orderbook.updated` and `feed.gap` events of any venue; books are
/// kept by venue and subject. Output: `com.virtufin.trading.order.submitted` on `sc.LIVE.orders`
/// (the host puts the worker's scenario in).
namespace imbalance {
namespace {

constexpr double kThreshold = 0.6;
constexpr double kRearm = 0.2;

enum class Action : std::uint8_t { kNone, kBuy, kSell };

struct Instrument {
  Book book;
  Action fired = Action::kNone;
};

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};
using Instruments = std::unordered_map<std::string, Instrument, TextHash, std::equal_to<>>;
using Venues = std::unordered_map<std::string, Instruments, TextHash, std::equal_to<>>;

template <class Map>
typename Map::mapped_type& at(Map& map, std::string_view key) {
  const auto found = map.find(key);
  return found != map.end() ? found->second : map.try_emplace(std::string(key)).first->second;
}

/// The order to send now, if any; keeps what was fired.
Action decide(Instrument& instrument) {
  const Book& book = instrument.book;
  if (!book.tradable()) return Action::kNone;
  const double bid = book.best_bid().qty, ask = book.best_ask().qty;
  const double imbalance = (bid - ask) / (bid + ask);
  Action side = Action::kNone;
  if (imbalance > kThreshold) {
    side = Action::kBuy;
  } else if (imbalance < -kThreshold) {
    side = Action::kSell;
  } else if (std::abs(imbalance) < kRearm) {
    instrument.fired = Action::kNone;
  }
  if (side == Action::kNone || side == instrument.fired) return Action::kNone;
  instrument.fired = side;
  return side;
}

/// RFC 3339 UTC with nine digits of a second, as the contract wants times in payloads.
std::string nine_digits(std::string_view time) {
  if (time.size() < 20 || time.back() != 'Z') return std::string(time);
  std::string out(time.substr(0, 19));
  const std::string_view fraction =
      time[19] == '.' ? time.substr(20, time.size() - 21) : std::string_view{};
  out += '.';
  out += fraction.substr(0, 9);
  out.append(9 - std::min<std::size_t>(fraction.size(), 9), '0');
  out += 'Z';
  return out;
}

void append_json(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

void send_order(const virtufin::worker::Event& event, virtufin::worker::Context& context,
                Action side, const Level& level) {
  const std::string_view subject = event.subject();
  const std::string_view symbol = subject.substr(subject.find('/') + 1);
  // One event makes at most one order, so the same event makes the same order in every replay.
  const std::string order_id = "imbalance-" + std::string(event.id());
  char price[352];  // the longest double in fixed notation, with 255 digits cut to what a venue has
  std::snprintf(price, sizeof price, "%.*f", static_cast<int>(level.scale > 32 ? 32 : level.scale),
                level.price);

  std::string data = "{\"order_id\":";
  append_json(data, order_id);
  data += ",\"symbol\":";
  append_json(data, symbol);
  data += side == Action::kBuy ? ",\"side\":\"buy\"" : ",\"side\":\"sell\"";
  data += ",\"type\":\"limit\",\"qty\":\"1\",\"price\":\"";
  data += price;
  data += "\",\"venue\":";
  append_json(data, event.extension("exchange"));
  data += ",\"submitted_at\":";
  append_json(data, nine_digits(event.event_time()));
  data += '}';
  context.publish({.type = "com.virtufin.trading.order.submitted",
                   .subject = "order/" + order_id,
                   .data = data,
                   .extensions = {{"publishtopic", "sc.LIVE.orders"}}});
}

class Strategy {
 public:
  void operator()(const virtufin::worker::Event& event, virtufin::worker::Context& context) {
    const std::string_view type = event.type();
    const bool update = type.ends_with(".orderbook.updated");
    const bool snapshot = !update && type.ends_with(".orderbook.snapshot");
    const bool gap = !update && !snapshot && type.ends_with(".feed.gap");
    if (!update && !snapshot && !gap) return;

    Instrument& instrument = at(at(venues_, event.extension("exchange")), event.subject());
    if (gap) return instrument.book.gap();

    payload_.clear();
    const std::string_view text = event.data_text();
    if (!Scanner(text).read(payload_)) {
      return context.fail("the payload of " + std::string(event.type()) + " " +
                          std::string(event.id()) + " is not an order book's");
    }
    if (snapshot) {
      instrument.book.snapshot(payload_);
    } else if (!instrument.book.update(text, payload_)) {
      return;
    }
    const Action side = decide(instrument);
    if (side == Action::kNone) return;
    const Book& book = instrument.book;
    send_order(event, context, side, side == Action::kBuy ? book.best_ask() : book.best_bid());
  }

 private:
  Venues venues_;
  Payload payload_;  ///< kept for its memory
};

Strategy strategy;

}  // namespace
}  // namespace imbalance

VIRTUFIN_WORKER(imbalance::strategy)

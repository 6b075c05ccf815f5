#include "modules/workmanager/order_record.h"

#include <simdjson.h>

#include <charconv>
#include <cmath>

#include "core/errors.h"
#include "core/json_text.h"
#include "core/topic.h"

namespace virtufin::workmanager {
namespace {

constexpr std::string_view kTypePrefix = "com.virtufin.trading.order.";

/// The payload's members, if it is a JSON object. One parser a thread, kept for its memory.
class Payload {
 public:
  explicit Payload(std::span<const std::uint8_t> data) {
    thread_local simdjson::dom::parser parser;
    present_ = !data.empty() && !parser.parse(data.data(), data.size()).get_object().get(object_);
  }
  /// A string as it is, a number as it would be written; empty if absent or anything else.
  std::string text(std::string_view name) const {
    simdjson::dom::element element;
    if (!present_ || object_[name].get(element)) return {};
    std::string_view string;
    if (!element.get_string().get(string)) return std::string(string);
    return element.is_number() ? simdjson::minify(element) : std::string{};
  }

 private:
  simdjson::dom::object object_;
  bool present_ = false;
};

std::string order_id_of(const Event& event, const Payload& payload) {
  if (auto id = payload.text("order_id"); !id.empty()) return id;
  constexpr std::string_view kSubject = "order/";
  const std::string_view subject = event.subject();
  if (subject.size() > kSubject.size() && subject.starts_with(kSubject)) {
    return std::string(subject.substr(kSubject.size()));
  }
  return std::string(event.id());
}

long double number(std::string_view text) {
  long double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Up to twelve digits behind the point, without zeros at the end.
std::string decimal(long double value) {
  std::string out = fmt::format("{:.12f}", value);
  out.erase(out.find_last_not_of('0') + 1);
  if (out.ends_with('.')) out.pop_back();
  return out;
}

void set(std::string& field, std::string value) {
  if (!value.empty()) field = std::move(value);
}

void fill(OrderRecord& record, const Payload& payload) {
  const std::string traded = payload.text("qty_filled");
  const long double quantity = number(traded);
  const long double before = number(record.qty) - number(record.remaining_qty);
  if (quantity > 0 && before + quantity > 0) {
    record.avg_price =
        decimal((number(record.avg_price) * before + number(payload.text("price")) * quantity) /
                (before + quantity));
  }
  const std::string remaining = payload.text("remaining_qty");
  record.remaining_qty = remaining.empty()
                             ? decimal(std::max(0.0L, number(record.remaining_qty) - quantity))
                             : remaining;
  record.status = number(record.remaining_qty) == 0 ? "filled" : "partially_filled";
}

void amend(OrderRecord& record, const Payload& payload) {
  set(record.price, payload.text("new_price"));
  if (std::string qty = payload.text("new_qty"); !qty.empty()) {
    const long double filled = number(record.qty) - number(record.remaining_qty);
    record.remaining_qty = filled == 0 ? qty : decimal(std::max(0.0L, number(qty) - filled));
    record.qty = std::move(qty);
  }
  record.status = "amended";
}

}  // namespace

std::string order_id_of(const Event& event) { return order_id_of(event, Payload(event.data())); }

std::string order_prefix(std::string_view scenario) {
  return topic::scenario(scenario, "trading.order");
}

std::string order_key(std::string_view scenario, std::string_view order_id) {
  return fmt::format("sc.{}.trading.order.{}", scenario, order_id);
}

OrderRecord open_order(const Event& event) {
  const Payload payload(event.data());
  OrderRecord record;
  record.order_id = order_id_of(event, payload);
  record.side = payload.text("side");
  record.type = payload.text("type");
  record.qty = payload.text("qty");
  record.remaining_qty = record.qty;
  record.price = payload.text("price");
  record.venue = payload.text("venue");
  record.symbol = payload.text("symbol");
  record.created_at = format_time(event.event_time());
  record.updated_at = record.created_at;
  return record;
}

void update_order(OrderRecord& record, const Event& event) {
  const Payload payload(event.data());
  const std::string_view type = event.type();
  const std::string_view what = type.substr(std::min(type.size(), kTypePrefix.size()));
  if (what == "filled") {
    fill(record, payload);
  } else if (what == "amended") {
    amend(record, payload);
  } else {
    record.status = what;  // accepted, rejected, cancelled, expired
  }
  record.updated_at = format_time(event.event_time());
}

std::string to_json(const OrderRecord& record) {
  JsonObject out;
  out.text("order_id", record.order_id)
      .text("status", record.status)
      .text("side", record.side)
      .text("type", record.type)
      .text("qty", record.qty)
      .text("remaining_qty", record.remaining_qty)
      .text("avg_price", record.avg_price);
  if (!record.price.empty()) out.text("price", record.price);
  out.text("venue", record.venue)
      .text("symbol", record.symbol)
      .text("created_at", record.created_at)
      .text("updated_at", record.updated_at);
  return std::move(out).finish();
}

absl::StatusOr<OrderRecord> order_from_json(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  if (const auto error = parser.parse(json.data(), json.size()).get_object().get(root)) {
    return invalid_argument("order record is not a JSON object: {}",
                            simdjson::error_message(error));
  }
  OrderRecord record;
  const auto read = [&](std::string_view name, std::string& out) {
    std::string_view value;
    if (!root[name].get_string().get(value)) out = value;
  };
  read("order_id", record.order_id);
  read("status", record.status);
  read("side", record.side);
  read("type", record.type);
  read("qty", record.qty);
  read("remaining_qty", record.remaining_qty);
  read("avg_price", record.avg_price);
  read("price", record.price);
  read("venue", record.venue);
  read("symbol", record.symbol);
  read("created_at", record.created_at);
  read("updated_at", record.updated_at);
  if (record.order_id.empty()) return invalid_argument("order record has no order_id");
  return record;
}

}  // namespace virtufin::workmanager

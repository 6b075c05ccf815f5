#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

#include "core/event.h"

namespace virtufin::workmanager {

/// The record of an order at `sc.<scenario>.trading.order.<order_id>` (contract/envelope.md).
/// Prices and quantities are decimal strings as the event wrote them; what an event did not say is
/// empty. `avg_price` alone is computed, rounded to twelve digits behind the point.
struct OrderRecord {
  std::string order_id, status = "submitted", side, type;
  std::string qty, remaining_qty, avg_price = "0", price, venue, symbol;
  std::string created_at, updated_at;
};

/// `order_id` of the data, else of the subject `order/<id>`, else the event's id.
std::string order_id_of(const Event& event);
/// `sc.<scenario>.trading.order.<order_id>`; its head without the id is what the index hangs on.
std::string order_prefix(std::string_view scenario);
std::string order_key(std::string_view scenario, std::string_view order_id);

/// The record that an opening event makes, whatever of an order's payload it has.
OrderRecord open_order(const Event& event);
/// Brings a record up to date with a later `com.virtufin.trading.order.*` event.
void update_order(OrderRecord& record, const Event& event);

std::string to_json(const OrderRecord& record);
absl::StatusOr<OrderRecord> order_from_json(std::string_view json);

}  // namespace virtufin::workmanager

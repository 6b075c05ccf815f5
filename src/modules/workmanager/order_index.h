#pragma once

#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "bus/state_store.h"
#include "core/executor.h"
#include "core/log.h"
#include "core/time.h"
#include "modules/workmanager/config.h"

namespace virtufin::workmanager {

/// What an order id may not begin with: the pages of the index stand beside the records.
inline constexpr std::string_view kIndexPart = "index.";

/// Lists of order ids, in pages `<record key without its id>.index.<yyyymmdd>.<n>` (a JSON array;
/// wall time, UTC), written in groups by a timer and never awaited by the path that made the
/// record: a record costs the same on the first day and on the thousandth.
///
/// What waits for its page is lost in a crash. So a key says whether the index was closed properly;
/// if it was not, start() rebuilds what is missing from the records.
/// Life: start(), add(), close(); callbacks hold it by shared_ptr. Threads: any.
class OrderIndex : public std::enable_shared_from_this<OrderIndex> {
 public:
  static constexpr std::string_view kStateKey = "workmanager.order.index";

  OrderIndex(bus::StateStore& store, const Clock& clock, Loops& loops,
             const WorkManagerConfig& config);

  void start();
  /// `prefix` as order_prefix(). Beyond `order_index_queue` waiting ids it is left to the next
  /// rebuild, and counted.
  void add(std::string prefix, std::string id);
  /// Writes what waits, notes that the index is whole, then `done`. Nothing is written after that.
  void close(absl::AnyInvocable<void()> done);
  std::uint64_t left_out() const;

 private:
  /// The page of a prefix that is filled now.
  struct Page {
    std::string day;
    std::uint64_t number = 0;
    std::vector<std::string> ids;
    bool loaded = false;
  };
  struct Batch {
    std::string prefix;
    std::vector<std::string> ids;
  };

  void rebuild();
  void arm();
  void flush();
  void next_batch();
  void load_page(std::shared_ptr<Batch> batch);
  void write_page(std::shared_ptr<Batch> batch);
  void give_back(const Batch& batch, const absl::Status& why);
  void finish();
  std::string today() const;
  static std::string page_key(std::string_view prefix, const Page& page);

  bus::StateStore& store_;
  const Clock& clock_;
  Loops& loops_;
  const WorkManagerConfig config_;
  Logger log_;

  mutable std::mutex mutex_;
  std::map<std::string, std::vector<std::string>> waiting_;  ///< by prefix
  std::size_t waiting_ids_ = 0;
  std::uint64_t left_out_ = 0;
  bool armed_ = false;
  bool writing_ = false;
  bool failed_ = false;  ///< in this round of writing
  bool closed_ = false;
  absl::AnyInvocable<void()> on_closed_;
  // Touched by the one who writes.
  std::deque<std::shared_ptr<Batch>> batches_;
  std::map<std::string, Page> pages_;  ///< by prefix: as many as there are scenarios
};

}  // namespace virtufin::workmanager

#include "modules/workmanager/order_index.h"

#include <simdjson.h>

#include <boost/asio/steady_timer.hpp>
#include <limits>
#include <unordered_set>
#include <utility>

#include "core/errors.h"
#include "core/json_text.h"
#include "core/topic.h"

namespace virtufin::workmanager {
namespace {

constexpr std::string_view kOpen = "open";
constexpr std::string_view kClosed = "closed";
constexpr std::string_view kOrderPart = "trading.order.";

std::vector<std::string> ids_of(const std::string& json) {
  simdjson::dom::parser parser;
  simdjson::dom::array array;
  std::vector<std::string> out;
  if (parser.parse(json).get_array().get(array)) return out;
  for (const auto one : array) {
    std::string_view id;
    if (!one.get_string().get(id)) out.emplace_back(id);
  }
  return out;
}

}  // namespace

OrderIndex::OrderIndex(bus::StateStore& store, const Clock& clock, Loops& loops,
                       const WorkManagerConfig& config)
    : store_(store), clock_(clock), loops_(loops), config_(config), log_(logger("workmanager")) {}

void OrderIndex::start() {
  store_.get(std::string(kStateKey), [self = shared_from_this()](absl::StatusOr<bus::Item> item) {
    if (item.ok() && item->value == kOpen) self->rebuild();
    self->store_.save({std::string(kStateKey), std::string(kOpen), {}, {}},
                      [self](absl::StatusOr<std::string> saved) {
                        if (saved.ok()) return;
                        self->log_->warn("the index of orders cannot be marked as open: {}",
                                         message(saved.status()));
                      });
  });
}

/// The process died with the index open: adds the records that no page names.
void OrderIndex::rebuild() {
  store_.query(R"({"filter":{"PREFIX":"sc."}})", std::numeric_limits<std::int32_t>::max(),
               [self = shared_from_this()](absl::StatusOr<std::vector<bus::Item>> items) {
                 if (!items.ok()) {
                   return self->log_->warn("the index of orders cannot be rebuilt: {}",
                                           message(items.status()));
                 }
                 std::map<std::string, std::unordered_set<std::string>> indexed, records;
                 for (const auto& item : *items) {
                   const auto parts = topic::parse(item.key);
                   if (parts.root != topic::Root::kScenario || !parts.tail.starts_with(kOrderPart))
                     continue;
                   const std::string_view id = parts.tail.substr(kOrderPart.size());
                   std::string prefix = item.key.substr(0, item.key.size() - id.size() - 1);
                   if (id.starts_with(kIndexPart)) {
                     for (auto& one : ids_of(item.value)) indexed[prefix].insert(std::move(one));
                   } else {
                     records[std::move(prefix)].emplace(id);
                   }
                 }
                 std::size_t added = 0;
                 for (auto& [prefix, ids] : records) {
                   for (const auto& id : ids) {
                     if (indexed[prefix].contains(id)) continue;
                     self->add(prefix, id);
                     ++added;
                   }
                 }
                 self->log_->info("index of orders: {} records were missing after a crash", added);
               });
}

void OrderIndex::add(std::string prefix, std::string id) {
  std::unique_lock lock(mutex_);
  if (closed_ || waiting_ids_ >= config_.order_index_queue) {
    ++left_out_;
    return;
  }
  waiting_[std::move(prefix)].push_back(std::move(id));
  ++waiting_ids_;
  arm();
}

std::uint64_t OrderIndex::left_out() const {
  std::lock_guard lock(mutex_);
  return left_out_;
}

/// With the mutex held.
void OrderIndex::arm() {
  if (armed_ || writing_) return;
  armed_ = true;
  auto timer =
      std::make_shared<boost::asio::steady_timer>(loops_.at(0).io(), config_.order_index_interval);
  timer->async_wait(
      [timer, self = shared_from_this()](const boost::system::error_code&) { self->flush(); });
}

void OrderIndex::flush() {
  {
    std::lock_guard lock(mutex_);
    armed_ = false;
    if (writing_ || (closed_ && on_closed_ == nullptr)) return;
    writing_ = true;
    for (auto& [prefix, ids] : waiting_) {
      batches_.push_back(std::make_shared<Batch>(Batch{prefix, std::move(ids)}));
    }
    waiting_.clear();
    waiting_ids_ = 0;
  }
  next_batch();
}

void OrderIndex::next_batch() {
  if (batches_.empty()) return finish();
  auto batch = std::move(batches_.front());
  batches_.pop_front();
  Page& page = pages_[batch->prefix];
  const std::string day = today();
  if (!page.loaded || page.day != day) {
    page = Page{day, 0, {}, false};
    return load_page(std::move(batch));
  }
  write_page(std::move(batch));
}

/// Finds the last page of the day, for a process that was started again on the same day.
void OrderIndex::load_page(std::shared_ptr<Batch> batch) {
  const std::string key = page_key(batch->prefix, pages_[batch->prefix]);
  store_.get(key, [self = shared_from_this(), batch](absl::StatusOr<bus::Item> item) {
    if (!item.ok()) return self->give_back(*batch, item.status());
    Page& page = self->pages_[batch->prefix];
    if (!item->etag.empty()) {
      page.ids = ids_of(item->value);
      if (page.ids.size() >= self->config_.order_index_page_ids) {
        ++page.number;
        page.ids.clear();
        return self->load_page(batch);
      }
    }
    page.loaded = true;
    self->write_page(batch);
  });
}

void OrderIndex::write_page(std::shared_ptr<Batch> batch) {
  Page& page = pages_[batch->prefix];
  if (page.ids.size() >= config_.order_index_page_ids) {
    ++page.number;
    page.ids.clear();
  }
  const std::size_t room = config_.order_index_page_ids - page.ids.size();
  const std::size_t taken = std::min(room, batch->ids.size());
  page.ids.insert(page.ids.end(), batch->ids.begin(),
                  batch->ids.begin() + static_cast<std::ptrdiff_t>(taken));
  store_.save({page_key(batch->prefix, page), json_array(page.ids), {}, {}},
              [self = shared_from_this(), batch, taken](absl::StatusOr<std::string> saved) {
                if (!saved.ok()) {
                  Page& failed = self->pages_[batch->prefix];
                  failed.ids.resize(failed.ids.size() - taken);
                  return self->give_back(*batch, saved.status());
                }
                batch->ids.erase(batch->ids.begin(),
                                 batch->ids.begin() + static_cast<std::ptrdiff_t>(taken));
                if (batch->ids.empty()) return self->next_batch();
                self->write_page(batch);
              });
}

/// Tried again with the next group.
void OrderIndex::give_back(const Batch& batch, const absl::Status& why) {
  log_->warn("a page of the index of orders is late: {}", message(why));
  {
    std::lock_guard lock(mutex_);
    auto& ids = waiting_[batch.prefix];
    ids.insert(ids.begin(), batch.ids.begin(), batch.ids.end());
    waiting_ids_ += batch.ids.size();
    failed_ = true;
  }
  next_batch();
}

void OrderIndex::finish() {
  std::unique_lock lock(mutex_);
  writing_ = false;
  const bool failed = std::exchange(failed_, false);
  if (!closed_) {
    if (waiting_ids_ > 0) arm();
    return;
  }
  if (waiting_ids_ > 0 && !failed) {
    lock.unlock();
    return flush();
  }
  if (on_closed_ == nullptr) return;
  auto done = std::exchange(on_closed_, nullptr);
  const bool whole = waiting_ids_ == 0 && left_out_ == 0;
  lock.unlock();
  // Left open, so that the next start looks for what is missing.
  if (!whole) return done();
  store_.save({std::string(kStateKey), std::string(kClosed), {}, {}},
              [done = std::move(done)](absl::StatusOr<std::string>) mutable { done(); });
}

void OrderIndex::close(absl::AnyInvocable<void()> done) {
  {
    std::lock_guard lock(mutex_);
    if (!closed_) {
      closed_ = true;
      on_closed_ = std::move(done);
      if (writing_) return;  // finish() goes on
    }
  }
  // Closed before: nobody else tells this caller.
  if (done != nullptr) return done();
  flush();
}

std::string OrderIndex::today() const {
  const std::string now = format_time(clock_.now());
  return now.substr(0, 4) + now.substr(5, 2) + now.substr(8, 2);
}

std::string OrderIndex::page_key(std::string_view prefix, const Page& page) {
  return fmt::format("{}.{}{}.{}", prefix, kIndexPart, page.day, page.number);
}

}  // namespace virtufin::workmanager

#pragma once

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <utility>

#include "bus/bus.h"
#include "bus/memory/spin_lock.h"

namespace virtufin::bus::memory {

/// The end of one publish that has to wait for room in one subscription or more. Made only then.
/// The first failure is the one that is told.
///
/// Threads: any.
class Completion : public boost::intrusive_ref_counter<Completion> {
 public:
  explicit Completion(PublishDone done) : done_(std::move(done)) {}

  void expect() {
    lock_.lock();
    ++left_;
    lock_.unlock();
  }

  void finish(absl::Status status) {
    lock_.lock();
    if (status_.ok()) std::swap(status_, status);
    const bool last = --left_ == 0;
    lock_.unlock();
    if (last && done_) std::exchange(done_, nullptr)(std::move(status_));
  }

 private:
  SpinLock lock_;
  std::size_t left_ = 1;  // the publisher's own share, until it has been to every subscriber
  absl::Status status_;
  PublishDone done_;
};
using CompletionPtr = boost::intrusive_ptr<Completion>;

}  // namespace virtufin::bus::memory

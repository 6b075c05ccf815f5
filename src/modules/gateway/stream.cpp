#include "modules/gateway/stream.h"

#include <algorithm>

#include "core/topic.h"

namespace virtufin::gateway {

Stream::Stream(Options options, std::unique_ptr<StreamSink> sink)
    : options_(std::move(options)),
      sink_(std::move(sink)),
      several_patterns_(options_.patterns.size() > 1) {}

bool Stream::accepts(std::string_view pattern, std::string_view topic, const Event& event) const {
  if (!options_.filter.accepts(event)) {
    return false;
  }
  if (!several_patterns_) {
    return true;
  }
  const auto first = std::find_if(
      options_.patterns.begin(), options_.patterns.end(),
      [topic](const std::string& candidate) { return topic::matches(candidate, topic); });
  return first != options_.patterns.end() && *first == pattern;
}

void Stream::start() {
  {
    const std::lock_guard lock(mutex_);
    if (started_ || ending_) {
      return;
    }
  }
  sink_->start(options_.id);
  {
    const std::lock_guard lock(mutex_);
    started_ = true;
  }
  pump();
}

void Stream::push(FanoutEventPtr event) {
  FanoutEventPtr dropped;  // destroyed after the lock is gone
  {
    const std::lock_guard lock(mutex_);
    if (ending_) {
      return;
    }
    if (queue_.size() >= options_.queue_events) {
      dropped = std::move(queue_.front());
      queue_.pop_front();
      ++missed_;
      options_.missed->add();
    }
    queue_.push_back(std::move(event));
    if (busy_) {
      return;
    }
  }
  pump();
}

void Stream::count_missed(std::uint64_t events) {
  const std::lock_guard lock(mutex_);
  missed_ += events;
  options_.missed->add(events);
}

void Stream::comment() {
  if (!sink_->wants_comments()) {
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    comment_due_ = true;
  }
  pump();
}

void Stream::close(absl::Status status, Queued queued) {
  std::deque<FanoutEventPtr> dropped;
  {
    const std::lock_guard lock(mutex_);
    if (!ending_) {
      ending_ = std::move(status);
    }
    if (queued == Queued::kDrop || !started_) {
      queued_ = Queued::kDrop;
      dropped.swap(queue_);
    }
  }
  pump();
}

void Stream::pump() {
  // A loop, because a sink may complete a write before its call returns: recursion would go as deep
  // as the queue is long.
  for (;;) {
    enum class Step { kEvents, kComment, kFinish } step;
    bool first = false;
    std::uint64_t missed = 0;
    {
      const std::lock_guard lock(mutex_);
      if (busy_ || finished_) {
        return;
      }
      writing_.clear();
      if (ending_ && (queue_.empty() || queued_ == Queued::kDrop)) {
        finished_ = true;
        step = Step::kFinish;
      } else if (!started_) {
        return;
      } else if (!queue_.empty()) {
        const std::size_t count = std::min(queue_.size(), sink_->max_events_per_write());
        writing_.assign(std::make_move_iterator(queue_.begin()),
                        std::make_move_iterator(queue_.begin() + count));
        queue_.erase(queue_.begin(), queue_.begin() + count);
        first = std::exchange(first_, false);
        missed = std::exchange(missed_, 0);
        comment_due_ = false;
        step = Step::kEvents;
      } else if (comment_due_) {
        comment_due_ = false;
        step = Step::kComment;
      } else {
        return;
      }
      if (step != Step::kFinish) {
        busy_ = true;
        issuing_ = true;
        completed_ = false;
      }
    }

    if (step == Step::kFinish) {
      sink_->finish(*ending_);
      if (options_.on_finished) {
        options_.on_finished();
      }
      return;
    }
    auto written = [self = shared_from_this()](const absl::Status& status) {
      self->on_written(status);
    };
    if (step == Step::kEvents) {
      options_.written->add(writing_.size());
      sink_->write(writing_, first, missed, std::move(written));
    } else {
      sink_->write_comment(std::move(written));
    }
    const std::lock_guard lock(mutex_);
    issuing_ = false;
    if (!completed_) {
      return;
    }
    busy_ = false;
  }
}

void Stream::on_written(const absl::Status& status) {
  std::deque<FanoutEventPtr> dropped;
  bool broken = false;
  bool go_on = true;
  {
    const std::lock_guard lock(mutex_);
    if (!status.ok()) {
      broken = !ending_;
      if (!ending_) {
        ending_ = status;
      }
      queued_ = Queued::kDrop;
      dropped.swap(queue_);
    }
    if (issuing_) {
      completed_ = true;  // the thread that issued the write goes on
      go_on = false;
    } else {
      busy_ = false;
    }
  }
  if (broken && options_.on_broken) {
    options_.on_broken();
  }
  if (go_on) {
    pump();
  }
}

}  // namespace virtufin::gateway

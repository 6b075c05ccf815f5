#pragma once

#include <cstdint>

namespace virtufin::workmanager {

/// What became of a worker's events. At any moment
/// `delivered = processed + dead_lettered + dropped + in_flight`.
struct Counts {
  std::uint64_t delivered = 0;        ///< matched to the worker, each once whatever its retries
  std::uint64_t processed = 0;        ///< handled, and all that came of it recorded and published
  std::uint64_t dead_lettered = 0;    ///< given up, or an output of it was
  std::uint64_t dropped = 0;          ///< by the queue's overflow policy, or waiting at a stop
  std::uint64_t in_flight = 0;        ///< handed to the worker, not answered
  std::uint64_t failed = 0;           ///< calls of Process that failed, retries included
  std::uint64_t outputs = 0;          ///< published
  std::uint64_t outputs_dead = 0;     ///< dead-lettered outputs
  std::uint64_t orders = 0;           ///< published outputs that open an order
  std::uint64_t orders_recorded = 0;  ///< records that were there before their order went out
  std::uint64_t order_record_bytes = 0;  ///< keys and values of the records that we made

  Counts& operator+=(const Counts& other) {
    delivered += other.delivered;
    processed += other.processed;
    dead_lettered += other.dead_lettered;
    dropped += other.dropped;
    in_flight += other.in_flight;
    failed += other.failed;
    outputs += other.outputs;
    outputs_dead += other.outputs_dead;
    orders += other.orders;
    orders_recorded += other.orders_recorded;
    order_record_bytes += other.order_record_bytes;
    return *this;
  }
};

/// Of all workers that ever lived in this process.
struct Totals : Counts {
  std::uint64_t workers = 0;    ///< now
  std::int64_t lag_p50_us = 0;  ///< from receipt of the frame to the end of Process, wall clock
  std::int64_t lag_p99_us = 0;
};

}  // namespace virtufin::workmanager

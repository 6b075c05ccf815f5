#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/errors.h"
#include "modules/venue/frame.h"
#include "modules/venue/source.h"

namespace virtufin::venue {

struct SyntheticOptions {
  std::vector<std::string> symbols;
  std::uint64_t seed = 1;
  std::int64_t rate = 200;  ///< frames a second of market time
  bool keep_times = false;  ///< times are those of the market, which begins at kSyntheticBegin
};

/// 2024-01-01T00:00:00Z
inline constexpr TimePoint kSyntheticBegin{std::chrono::seconds(1'704'067'200)};

/// A random-walk market, for when there is no recording: depth, book ticker, aggregate trades and
/// one-minute klines in exactly Binance's forms, without end.
///
/// Each symbol has a book of kLevels a side around a price that walks by one tick at a time; the
/// book is never crossed and its ids never skip. The same symbols, seed and rate give the same
/// frames; their times are moved to the moment of sending as a recording's are.
///
/// Klines of one stream never have the same `E`, however fast they are played.
///
/// Threads: one at a time.
class SyntheticMarket final : public FrameSource {
 public:
  static constexpr int kLevels = 50;

  /// INVALID_ARGUMENT for no symbols, or one that is not letters and digits.
  static absl::StatusOr<std::unique_ptr<SyntheticMarket>> create(Dialect dialect,
                                                                 SyntheticOptions options);

  ~SyntheticMarket() override;

  std::string_view kind() const override { return "synthetic"; }
  std::span<const std::string> streams() const override { return streams_; }
  bool has_symbol(std::string_view symbol) const override { return indices_.contains(symbol); }
  std::optional<std::chrono::nanoseconds> next_due() const override;
  WrittenFrame write_next(TimePoint now, std::string& out) override;
  absl::StatusOr<std::string> depth(std::string_view symbol, std::size_t limit,
                                    TimePoint now) const override;
  std::uint64_t laps() const override { return 0; }

 private:
  struct Symbol;

  SyntheticMarket(Dialect dialect, SyntheticOptions options);

  std::uint64_t random(std::uint64_t below);
  void write_depth(Symbol& symbol, std::string& out);
  void write_book_ticker(Symbol& symbol, std::string& out);
  void write_trade(Symbol& symbol, std::string& out);
  void write_kline(Symbol& symbol, std::string& out);
  void move_price(Symbol& symbol, bool up, DepthChange& change);
  std::int64_t market_ms() const;  ///< of the frame being written

  const Dialect dialect_;
  const SyntheticOptions options_;
  std::uint64_t random_state_;
  std::vector<std::string> streams_;
  StringMap<std::size_t> indices_;
  std::vector<Symbol> symbols_;
  std::uint64_t frames_ = 0;
  std::int64_t moved_ms_ = 0;  ///< of the frame being written
};

}  // namespace virtufin::venue

#include "core/time.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace virtufin {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::int64_t kSecondsPerDay = 86'400;
constexpr std::int64_t kNanosPerDay = kSecondsPerDay * kNanosPerSecond;
constexpr std::int64_t kFirstYear = -62'167'219'200;  // 0000-01-01T00:00:00Z
constexpr std::int64_t kLastYear = 253'402'300'799;   // 9999-12-31T23:59:59Z

// "00" to "99", side by side: two digits are one copy.
constexpr auto kPairs = [] {
  std::array<char, 200> pairs{};
  for (std::size_t i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

void put2(char* out, unsigned value) { std::memcpy(out, &kPairs[2 * value], 2); }

void put(std::int64_t day, std::uint32_t second, std::uint32_t nanos, char* out) {
  using namespace std::chrono;
  const year_month_day date{sys_days(days(day))};
  const auto year_number = static_cast<unsigned>(static_cast<int>(date.year()));
  put2(out, year_number / 100);
  put2(out + 2, year_number % 100);
  out[4] = '-';
  put2(out + 5, static_cast<unsigned>(date.month()));
  out[7] = '-';
  put2(out + 8, static_cast<unsigned>(date.day()));
  out[10] = 'T';
  put2(out + 11, second / 3600);
  out[13] = ':';
  put2(out + 14, second / 60 % 60);
  out[16] = ':';
  put2(out + 17, second % 60);
  out[19] = '.';
  const std::uint32_t high = nanos / 10'000, low = nanos % 10'000;
  out[20] = static_cast<char>('0' + high / 10'000);
  put2(out + 21, high / 100 % 100);
  put2(out + 23, high % 100);
  put2(out + 25, low / 100);
  put2(out + 27, low % 100);
  out[29] = 'Z';
}

/// Digits at fixed places; a character that is none is remembered, not reported at once.
class Digits {
 public:
  explicit Digits(const char* text) : text_(text) {}

  unsigned two(std::size_t at) {
    const unsigned tens = static_cast<unsigned char>(text_[at]) - unsigned{'0'};
    const unsigned ones = static_cast<unsigned char>(text_[at + 1]) - unsigned{'0'};
    bad_ |= tens > 9 || ones > 9;
    return tens * 10 + ones;
  }
  bool bad() const { return bad_; }

 private:
  const char* text_;
  bool bad_ = false;
};

}  // namespace

void format_time(TimePoint time, char* out) {
  const std::int64_t total = time.time_since_epoch().count();
  std::int64_t day = total / kNanosPerDay, rest = total % kNanosPerDay;
  if (rest < 0) {
    rest += kNanosPerDay;
    --day;
  }
  put(day, static_cast<std::uint32_t>(rest / kNanosPerSecond),
      static_cast<std::uint32_t>(rest % kNanosPerSecond), out);
}

std::string format_time(TimePoint time) {
  std::string text(kTimeWidth, '\0');
  format_time(time, text.data());
  return text;
}

std::string format_unix_time(UnixTime time) {
  std::string text(kTimeWidth, '\0');
  const std::int64_t seconds = std::clamp(time.seconds, kFirstYear, kLastYear);
  // From year 0 on, so that the division rounds down.
  const std::int64_t since = seconds - kFirstYear;
  put(since / kSecondsPerDay + kFirstYear / kSecondsPerDay,
      static_cast<std::uint32_t>(since % kSecondsPerDay), time.nanos, text.data());
  return text;
}

std::optional<UnixTime> parse_unix_time(std::string_view text) {
  using namespace std::chrono;
  constexpr std::size_t kShortest = 20;  // 2026-01-31T12:34:56Z
  if (text.size() < kShortest) return {};
  Digits digits(text.data());
  const unsigned y = digits.two(0) * 100 + digits.two(2), mo = digits.two(5), d = digits.two(8);
  const unsigned h = digits.two(11), mi = digits.two(14), s = digits.two(17);
  if (digits.bad()) return {};
  if (text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':') return {};
  if (text[10] != 'T' && text[10] != 't' && text[10] != ' ') return {};
  const year_month_day date(year(static_cast<int>(y)), month(mo), day(d));
  // A leap second (60) is read as the second after it.
  if (!date.ok() || h > 23 || mi > 59 || s > 60) return {};

  std::size_t at = 19;
  std::uint32_t nanos = 0;
  if (text[at] == '.') {
    constexpr std::array<std::uint32_t, 10> kScale = {
        1'000'000'000, 100'000'000, 10'000'000, 1'000'000, 100'000, 10'000, 1'000, 100, 10, 1};
    const std::size_t first = ++at;
    const std::size_t kept = std::min(first + 9, text.size());
    for (; at < kept && text[at] >= '0' && text[at] <= '9'; ++at) {
      nanos = nanos * 10 + static_cast<std::uint32_t>(text[at] - '0');
    }
    nanos *= kScale[at - first];
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    if (at == first || at == text.size()) return {};
  }
  std::int64_t offset_minutes = 0;
  if (text[at] == 'Z' || text[at] == 'z') {
    if (at + 1 != text.size()) return {};
  } else if (text[at] == '+' || text[at] == '-') {
    if (at + 6 != text.size() || text[at + 3] != ':') return {};
    const unsigned oh = digits.two(at + 1), om = digits.two(at + 4);
    if (digits.bad() || oh > 23 || om > 59) return {};
    offset_minutes = static_cast<std::int64_t>(oh * 60 + om) * (text[at] == '-' ? -1 : 1);
  } else {
    return {};
  }
  const std::int64_t day_number = sys_days(date).time_since_epoch().count();
  return UnixTime{day_number * kSecondsPerDay + h * 3600 + mi * 60 + s - offset_minutes * 60,
                  nanos};
}

std::optional<TimePoint> parse_time(std::string_view text) {
  const std::optional<UnixTime> time = parse_unix_time(text);
  if (!time) return {};
  // One second inside of what int64 nanoseconds reach, so that the sum below cannot pass it.
  constexpr std::int64_t kReach = 9'223'372'036;
  if (time->seconds < -kReach) return TimePoint::min();
  if (time->seconds >= kReach) return TimePoint::max();
  return TimePoint(std::chrono::nanoseconds(time->seconds * kNanosPerSecond + time->nanos));
}

TimePoint WallClock::now() const {
  return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
}

HistoricalClock::HistoricalClock(TimePoint start) : now_ns_(start.time_since_epoch().count()) {}

TimePoint HistoricalClock::now() const {
  return TimePoint(std::chrono::nanoseconds(now_ns_.load(std::memory_order_acquire)));
}

void HistoricalClock::advance_to(TimePoint time) {
  const std::int64_t wanted = time.time_since_epoch().count();
  std::int64_t seen = now_ns_.load(std::memory_order_relaxed);
  while (seen < wanted && !now_ns_.compare_exchange_weak(seen, wanted)) {
  }
}

}  // namespace virtufin

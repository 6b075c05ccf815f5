#include "core/time.h"

#include <algorithm>
#include <cstring>

namespace virtufin {
namespace {

// Days from civil and back: Howard Hinnant's algorithms, as std::chrono uses them.
using std::chrono::days;
using std::chrono::sys_days;

void put2(char* out, unsigned value) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
}

std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return {};
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return {};
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

}  // namespace

void format_time(TimePoint time, char* out) {
  using namespace std::chrono;
  static const TimePoint kFirst = sys_days(year(0) / 1 / 1);
  time = std::max(time, std::max(kFirst, TimePoint::min()));
  const auto day = floor<days>(time);
  const year_month_day date(day);
  auto rest = static_cast<std::uint64_t>((time - day).count());
  const auto year_number = static_cast<unsigned>(static_cast<int>(date.year()));
  put2(out, year_number / 100);
  put2(out + 2, year_number % 100);
  out[4] = '-';
  put2(out + 5, static_cast<unsigned>(date.month()));
  out[7] = '-';
  put2(out + 8, static_cast<unsigned>(date.day()));
  out[10] = 'T';
  const auto seconds = static_cast<unsigned>(rest / 1'000'000'000);
  auto nanos = static_cast<unsigned>(rest % 1'000'000'000);
  put2(out + 11, seconds / 3600);
  out[13] = ':';
  put2(out + 14, seconds / 60 % 60);
  out[16] = ':';
  put2(out + 17, seconds % 60);
  out[19] = '.';
  for (int i = 28; i >= 20; --i) {
    out[i] = static_cast<char>('0' + nanos % 10);
    nanos /= 10;
  }
  out[29] = 'Z';
}

std::string format_time(TimePoint time) {
  std::string text(kTimeWidth, '\0');
  format_time(time, text.data());
  return text;
}

std::optional<TimePoint> parse_time(std::string_view text) {
  using namespace std::chrono;
  const auto y = digits(text, 0, 4), mo = digits(text, 5, 2), d = digits(text, 8, 2);
  const auto h = digits(text, 11, 2), mi = digits(text, 14, 2), s = digits(text, 17, 2);
  if (!y || !mo || !d || !h || !mi || !s) return {};
  if (text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':') return {};
  if (text[10] != 'T' && text[10] != 't' && text[10] != ' ') return {};
  const year_month_day date(year(*y), month(static_cast<unsigned>(*mo)),
                            day(static_cast<unsigned>(*d)));
  // A leap second (60) is read as the second after it.
  if (!date.ok() || *h > 23 || *mi > 59 || *s > 60) return {};

  std::size_t at = 19;
  std::int64_t nanos = 0;
  if (at < text.size() && text[at] == '.') {
    std::int64_t scale = 100'000'000;
    const std::size_t first = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      nanos += scale * (text[at] - '0');
      scale /= 10;
    }
    if (at == first) return {};
  }
  if (at >= text.size()) return {};
  minutes offset{0};
  if (text[at] == 'Z' || text[at] == 'z') {
    if (at + 1 != text.size()) return {};
  } else if (text[at] == '+' || text[at] == '-') {
    const auto oh = digits(text, at + 1, 2), om = digits(text, at + 4, 2);
    if (!oh || !om || text[at + 3] != ':' || at + 6 != text.size() || *oh > 23 || *om > 59) {
      return {};
    }
    offset = minutes(*oh * 60 + *om) * (text[at] == '-' ? -1 : 1);
  } else {
    return {};
  }
  const auto total =
      duration_cast<seconds>(sys_days(date).time_since_epoch()) + hours(*h) + minutes(*mi) +
      seconds(*s) - offset;
  // int64 nanoseconds reach from 1677 to 2262.
  if (total < seconds(-9'223'372'036) || total > seconds(9'223'372'035)) return {};
  return TimePoint(nanoseconds(total) + nanoseconds(nanos));
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

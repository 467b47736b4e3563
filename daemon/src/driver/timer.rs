//! The driver's two alarms: one on boot time for durations, one on the wall clock that also reports when it is set.
//!
//! tokio's own timers stand still while the machine sleeps and know nothing of wall time (I-10), so both are timerfds.
//! An alarm that is off costs nothing: nothing here wakes an idle daemon (I-11).

use std::{io, os::fd::OwnedFd, time::Duration};

use jiff::Timestamp;
use rustix::{
    io::Errno,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime},
};
use tokio::io::{Interest, unix::AsyncFd};

/// What an alarm says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// A time that was asked for has come.
    Due,
    /// The wall clock was set, or the machine woke up: everything computed from wall time is stale.
    ClockJump,
}

/// Both alarms.
#[derive(Debug)]
pub(super) struct Timer {
    boot: Fd,
    wall: Fd,
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            boot: Fd::new(TimerfdClockId::Boottime, TimerfdTimerFlags::ABSTIME)?,
            wall: Fd::new(TimerfdClockId::Realtime, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET)?,
        })
    }

    /// Waits for the earlier of a time since boot and a wall time (none: never), or for a jump of the wall clock.
    ///
    /// Cancel safe: an alarm that fired while nobody waited is reported by the next wait.
    pub(super) async fn wait(&mut self, boot: Option<Duration>, wall: Option<Timestamp>) -> io::Result<Alarm> {
        // A wall timer must be armed to be told of jumps; when nothing is due it stands in the far future.
        let wall = wall.map_or(FAR_FUTURE, |at| at.as_duration().try_into().unwrap_or(Duration::ZERO));
        if self.boot.arm(boot.unwrap_or_default())? == Armed::ClockJumped || self.wall.arm(wall)? == Armed::ClockJumped
        {
            return Ok(Alarm::ClockJump);
        }
        tokio::select! {
            alarm = self.boot.fired() => alarm,
            alarm = self.wall.fired() => alarm,
        }
    }
}

/// The year 2200, as a duration since the epoch.
const FAR_FUTURE: Duration = Duration::from_secs(7_258_118_400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Armed {
    Yes,
    /// The clock was set since the alarm was armed the last time.
    ClockJumped,
}

/// One timerfd.
#[derive(Debug)]
struct Fd {
    fd: AsyncFd<OwnedFd>,
    flags: TimerfdTimerFlags,
    /// What it is armed for; none: not known (never armed, or fired).
    at: Option<Duration>,
}

impl Fd {
    #[expect(
        deprecated,
        reason = "its replacement is unsafe for types whose descriptor may change; an OwnedFd's cannot"
    )]
    fn new(clock: TimerfdClockId, flags: TimerfdTimerFlags) -> io::Result<Self> {
        let fd = timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { fd: AsyncFd::with_interest(fd, Interest::READABLE)?, flags, at: None })
    }

    /// Arms for an absolute time; zero switches the alarm off.
    fn arm(&mut self, at: Duration) -> io::Result<Armed> {
        if self.at == Some(at) {
            return Ok(Armed::Yes);
        }
        let value =
            Timespec { tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(at.subsec_nanos()) };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // Known only if the call succeeds; Linux arms the timer also when it answers that the clock was set.
        self.at = None;
        match timerfd_settime(self.fd.get_ref(), self.flags, &spec) {
            Ok(_) => {
                self.at = Some(at);
                Ok(Armed::Yes)
            }
            Err(Errno::CANCELED) => Ok(Armed::ClockJumped),
            Err(error) => Err(error.into()),
        }
    }

    async fn fired(&mut self) -> io::Result<Alarm> {
        loop {
            let mut ready = self.fd.readable().await?;
            let mut count = [0; 8];
            match rustix::io::read(ready.get_inner(), &mut count) {
                Ok(_) => {
                    self.at = None;
                    return Ok(Alarm::Due);
                }
                Err(Errno::CANCELED) => {
                    self.at = None;
                    return Ok(Alarm::ClockJump);
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Clock as _, SystemClock};

    #[tokio::test]
    async fn fires_at_a_time_since_boot_and_again_when_armed_again() {
        let mut timer = Timer::new().unwrap();
        for _ in 0..2 {
            let at = SystemClock.now().boot + Duration::from_millis(20);
            assert_eq!(timer.wait(Some(at), None).await.unwrap(), Alarm::Due);
            assert!(SystemClock.now().boot >= at);
        }
    }

    #[tokio::test]
    async fn fires_at_a_wall_time_and_at_once_when_it_is_past() {
        let mut timer = Timer::new().unwrap();
        for milliseconds in [20, -5000] {
            let at = SystemClock.now().wall + jiff::SignedDuration::from_millis(milliseconds);
            assert_eq!(timer.wait(None, Some(at)).await.unwrap(), Alarm::Due);
            assert!(SystemClock.now().wall >= at);
        }
    }

    #[tokio::test]
    async fn an_alarm_that_is_moved_fires_at_the_new_time() {
        let mut timer = Timer::new().unwrap();
        let start = SystemClock.now().boot;
        let far = start + Duration::from_secs(3600);
        tokio::select! {
            biased;
            alarm = timer.wait(Some(far), None) => panic!("{alarm:?} an hour early"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(timer.wait(Some(start + Duration::from_millis(20)), None).await.unwrap(), Alarm::Due);
    }
}

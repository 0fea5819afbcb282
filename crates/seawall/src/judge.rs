//! Decides what the result of an attempt means.

use seawall_client::any::Judged;

use crate::fault::{BoxError, Fault, Meaning};

/// Decides what the result of an attempt means, and what the caller gets from it.
///
/// The trait is sealed: only [`Plain`] and [`ByClosure`] implement it.
pub trait Judge<O>: sealed::Sealed {
    /// The type of value that a successful attempt returns.
    type Value;

    #[doc(hidden)]
    fn judge(&mut self, output: O) -> Judged<Result<Self::Value, BoxError>>;
}

mod sealed {
    pub trait Sealed {}
}

/// The default judge. An attempt that returns `Ok` took effect. An attempt that returns `Err` means what its [`Fault`]
/// says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl sealed::Sealed for Plain {}

impl<T, E: Into<Fault>> Judge<Result<T, E>> for Plain {
    type Value = T;

    #[inline]
    fn judge(&mut self, output: Result<T, E>) -> Judged<Result<T, BoxError>> {
        match output {
            Ok(value) => Judged { ending: Meaning::applied().ending(), again: true, value: Ok(value) },
            Err(error) => {
                let Fault { meaning, error } = error.into();
                Judged { ending: meaning.ending(), again: true, value: Err(error) }
            }
        }
    }
}

/// The judge of [`crate::Call::classify`]: a closure says what `Ok` and `Err` mean.
#[derive(Clone, Copy, Debug)]
pub struct ByClosure<C>(pub(crate) C);

impl<C> sealed::Sealed for ByClosure<C> {}

impl<T, E, C> Judge<Result<T, E>> for ByClosure<C>
where
    E: Into<BoxError>,
    C: FnMut(&Result<T, E>) -> Meaning,
{
    type Value = T;

    fn judge(&mut self, output: Result<T, E>) -> Judged<Result<T, BoxError>> {
        let ending = (self.0)(&output).ending();
        Judged { ending, again: true, value: output.map_err(Into::into) }
    }
}

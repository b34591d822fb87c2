//! The input of the decision target. [`render`](crate::render) makes requests and responses of it.
//!
//! Of each choice the first, and `true`, is the tamest: an input that ends early goes on with it.

#![allow(missing_docs, reason = "the names say it")]

use std::fmt;
use std::ops::Deref;

use bolero::{Driver, TypeGenerator, produce};

/// The default, as a rule: where only one choice leads far.
#[derive(Clone, Copy)]
pub struct Mostly<T>(pub T);

#[derive(Clone, Debug, TypeGenerator)]
pub struct Scenario {
    pub options: Options,
    #[generator(produce::<Vec<Step>>().with().len(1..=14usize))]
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub struct Options {
    pub strict: bool,
    pub strict_dates: bool,
    /// Not when the server can't be reached, at least.
    pub never_stale: bool,
    pub drop_on_error: bool,
    pub memo: bool,
}

#[derive(Clone, Debug, TypeGenerator)]
pub enum Step {
    Send(Send),
    /// As the last one, with another answer if the server is asked.
    Again(Answer),
    Wait(Wait),
    /// A plain GET for the resource.
    Get(Mostly<Resource>, Answer),
    /// The server answers what it has held back, the n-th of these.
    Release(u8),
    /// The client goes away while it waits.
    Cancel(u8),
    /// Bodies that had been left open are read to their end.
    ReadOn,
    /// Another program writes under our keys.
    Damage(Damage),
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub enum Wait {
    Second,
    Seconds(u8),
    Minutes(u8),
    Millis(u8),
    Years(u8),
}

#[derive(Clone, Debug, TypeGenerator)]
pub enum Damage {
    Forget(u8),
    Empty(u8),
    Garbage(u8, [u8; 8]),
    CutAt(u8, u8),
    Flip(u8, u16),
}

#[derive(Clone, Debug, TypeGenerator)]
pub struct Send {
    pub method: u8,
    pub resource: Mostly<Resource>,
    #[generator(produce::<Vec<Mostly<RequestField>>>().with().len(0..=2usize))]
    pub fields: Vec<Mostly<RequestField>>,
    pub answer: Answer,
    pub reading: Mostly<Reading>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TypeGenerator, Default)]
pub enum Resource {
    #[default]
    A,
    B,
    Query,
}

#[derive(Clone, Copy, Debug, TypeGenerator, Default)]
pub enum Reading {
    #[default]
    Whole,
    Nothing,
    OneFrame,
    Later,
}

#[derive(Clone, Debug, TypeGenerator)]
pub enum RequestField {
    Accept(Value),
    Language(Value),
    /// With `Vary`, nothing to keep.
    Sensitive,
    Authorization,
    Cookie,
    NoCache,
    NoStore,
    OnlyIfCached,
    MaxAge(Mostly<Seconds>),
    MinFresh(Mostly<Seconds>),
    MaxStale(Mostly<Seconds>),
    AnyStale,
    StaleIfError(Mostly<Seconds>),
    Pragma,
    IfNoneMatch(Tag),
    IfModifiedSince(When),
    IfMatch(Tag),
    Range(u8, u8),
    Suffix(u8),
    IfRange(Tag),
    Upgrade,
    Unknown,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub enum Value {
    One,
    Two,
    OneTwo,
    TwoOne,
    Spaced,
    Lines,
    Upper,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub enum Seconds {
    Some(u8),
    None,
    Many(u16),
    Most,
    TooMany,
    Negative,
    Nonsense,
    Missing,
    Quoted(u8),
    Fraction(u8),
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub enum Tag {
    Strong(bool),
    Weak(bool),
    Any,
    Unquoted,
    Odd,
}

/// In seconds from the beginning of the run.
#[derive(Clone, Copy, Debug, TypeGenerator)]
pub struct When {
    pub offset: Mostly<Offset>,
    pub format: Mostly<DateFormat>,
}

#[derive(Clone, Copy, Debug, TypeGenerator, Default)]
pub enum Offset {
    /// From the moment that the answer is made.
    #[default]
    Now,
    Later(u8),
    Earlier(u8),
    LongAgo(u8),
    FarAhead(u8),
}

#[derive(Clone, Copy, Debug, TypeGenerator, Default)]
pub enum DateFormat {
    #[default]
    Imf,
    Rfc850,
    Asctime,
    Lower,
    WrongDay,
    OtherZone,
    Zero,
    Nonsense,
}

#[derive(Clone, Debug, TypeGenerator)]
pub struct Answer {
    pub kind: Mostly<Kind>,
    /// Held back by the server, unless one of these is so.
    pub at_once: bool,
    pub at_once_too: bool,
    pub delay: u8,
    /// Begins with `max-age=60`.
    pub fresh: bool,
    /// Has the ETag `"0"`, if no other.
    pub tagged: bool,
    /// Has `Vary: accept`, if high.
    pub varied: u8,
    #[generator(produce::<Vec<Directive>>().with().len(0..=3usize))]
    pub directives: Vec<Directive>,
    #[generator(produce::<Vec<ResponseField>>().with().len(0..=4usize))]
    pub fields: Vec<ResponseField>,
    /// Without a date, unless one of these is so.
    pub dated: bool,
    pub dated_too: bool,
    pub body: Mostly<BodyKind>,
}

#[derive(Clone, Copy, Debug, TypeGenerator, Default)]
pub enum Kind {
    /// 304 if the request has a condition, else 200.
    #[default]
    Confirm,
    Ok,
    Status(u8),
    Broken,
    Error(u8),
}

#[derive(Clone, Copy, Debug, TypeGenerator, Default)]
pub enum BodyKind {
    #[default]
    Plain,
    WithLength,
    Unknown,
    Cut,
    TooShort,
    TooLong,
    TwoLengths,
    Empty,
}

#[derive(Clone, Debug, TypeGenerator)]
pub enum Directive {
    MaxAge(Mostly<Seconds>),
    NoStore(Style),
    NoCache(Style),
    NoCacheField,
    MustRevalidate(Style),
    MustUnderstand,
    Private,
    Public,
    Immutable,
    StaleIfError(Mostly<Seconds>),
    StaleWhileRevalidate(Mostly<Seconds>),
    SMaxAge(Mostly<Seconds>),
    /// Directives in a quoted string are none.
    Quoted,
    Unknown,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub enum Style {
    Plain,
    Upper,
    Spaced,
    OwnLine,
    WithArgument,
}

#[derive(Clone, Debug, TypeGenerator)]
pub enum ResponseField {
    Tag(Tag),
    LastModified(When),
    Expires(When),
    Date(When),
    Age(Mostly<Seconds>),
    Vary(VaryOn),
    Hop,
    Location(Reference),
    ContentLocation(Reference),
    Stream,
    Unknown,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub enum VaryOn {
    Accept,
    Language,
    Both,
    Sensitive,
    Authorization,
    Cookie,
    Anything,
    Odd,
    Nothing,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub enum Reference {
    Path(Resource),
    Absolute(Resource),
    Relative(Resource),
    OtherHost(Resource),
}

impl Default for RequestField {
    fn default() -> Self {
        Self::Accept(Value::One)
    }
}

impl Default for Seconds {
    fn default() -> Self {
        Self::Some(60)
    }
}

impl<T: TypeGenerator + Default> TypeGenerator for Mostly<T> {
    fn generate<D: Driver>(driver: &mut D) -> Option<Self> {
        let choice: u8 = driver.produce()?;
        Some(Self(if choice < 140 {
            T::default()
        } else {
            driver.produce()?
        }))
    }
}

impl<T> Deref for Mostly<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Mostly<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

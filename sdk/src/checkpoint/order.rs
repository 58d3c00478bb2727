//! Refuses iterators that come in another order after a resume.

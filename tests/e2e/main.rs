//! What a user does, with the real binary, the real kubectl, a real disk and
//! real guests. One module per thing a user does.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may stop at the first surprise")]

mod access;
mod applying;
mod bad_input;
mod cleanup;
mod config;
mod controllers;
mod course;
mod crash;
mod ctr;
mod damage;
mod debug;
mod debugging;
mod disk;
mod explain;
mod files;
mod formats;
mod globals;
mod harness;
mod healing;
mod inside;
mod labels;
mod life;
mod nodes;
mod objects;
mod output;
mod pair;
mod pods;
mod reach;
mod restart;
mod rollout;
mod skew;
mod streams;
mod usage;
mod verbs;

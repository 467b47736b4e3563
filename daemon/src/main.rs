//! The program `jobd`: arguments and exit code; everything else is in the library.

/// Of the time that a create takes, the C library's allocator used 42 %, much of it in waiting for its locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    jobd::cli::main()
}

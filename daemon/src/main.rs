//! The program `jobd`: arguments and exit code; everything else is in the library.

fn main() -> std::process::ExitCode {
    jobd::cli::main()
}

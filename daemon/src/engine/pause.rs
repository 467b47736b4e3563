//! The image of sandbox containers, made here: no registry is asked for it (D-207). A docker-archive with one static program of a few
//! hundred bytes that waits for TERM or INT and lets the kernel reap orphans. The same bytes every time, so the same image id.

use std::{
    env::consts::ARCH,
    fmt::Write as _,
    io::{self, Write as _},
};

use serde_json::json;

/// The name under which the engine keeps it. Another program gets another number.
pub const IMAGE: &str = "jobd/pause:1";

/// Where the program is loaded. A multiple of 64 KiB, the largest page of aarch64.
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// One architecture's program.
struct Program {
    /// Rust's name of the architecture.
    arch: &'static str,
    /// Go's, which images use.
    image_arch: &'static str,
    /// `e_machine` of ELF.
    machine: u16,
    code: &'static [u8],
    /// SHA-256 of the layer; the engine checks it when it loads the image.
    layer: &'static str,
}

/// The programs, all the same one. A process 1 is not sent what it has no handler for, but a blocked signal waits for it (so no handler is
/// needed); and who ignores SIGCHLD leaves no zombies.
///
/// ```text
///        rt_sigaction(SIGCHLD = 17, &act, NULL, 8)
///        rt_sigprocmask(SIG_BLOCK = 0, &set, NULL, 8)
/// again: rt_sigtimedwait(&set, NULL, NULL, 8)
///        if <= 0 goto again            // EINTR
///        exit(0)
/// set:   (1 << (SIGTERM - 1)) | (1 << (SIGINT - 1))
/// act:   { SIG_IGN, flags 0, restorer NULL, mask 0 }
/// ```
const PROGRAMS: [Program; 2] = [
    Program {
        arch: "x86_64",
        image_arch: "amd64",
        machine: 62,
        code: &[
            0xb8, 0x0d, 0x00, 0x00, 0x00, // mov eax, 13 (rt_sigaction)
            0xbf, 0x11, 0x00, 0x00, 0x00, // mov edi, 17
            0x48, 0x8d, 0x35, 0x4f, 0x00, 0x00, 0x00, // lea rsi, [rip + act]
            0x31, 0xd2, // xor edx, edx
            0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov r10d, 8
            0x0f, 0x05, // syscall
            0xb8, 0x0e, 0x00, 0x00, 0x00, // mov eax, 14 (rt_sigprocmask)
            0x31, 0xff, // xor edi, edi
            0x48, 0x8d, 0x35, 0x2f, 0x00, 0x00, 0x00, // lea rsi, [rip + set]
            0x31, 0xd2, // xor edx, edx
            0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov r10d, 8
            0x0f, 0x05, // syscall
            0xb8, 0x80, 0x00, 0x00, 0x00, // again: mov eax, 128 (rt_sigtimedwait)
            0x48, 0x8d, 0x3d, 0x19, 0x00, 0x00, 0x00, // lea rdi, [rip + set]
            0x31, 0xf6, // xor esi, esi
            0x31, 0xd2, // xor edx, edx
            0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov r10d, 8
            0x0f, 0x05, // syscall
            0x85, 0xc0, // test eax, eax
            0x7e, 0xe4, // jle again
            0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, 60 (exit)
            0x31, 0xff, // xor edi, edi
            0x0f, 0x05, // syscall
            0x02, 0x40, 0, 0, 0, 0, 0, 0, // set
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // act
        ],
        layer: "63949e8f54bb172fc13d83ec185422acba9d977770d10b1bb6fd06c86f36a4c1",
    },
    Program {
        arch: "aarch64",
        image_arch: "arm64",
        machine: 183,
        code: &[
            0xc8, 0x10, 0x80, 0xd2, // mov x8, 134 (rt_sigaction)
            0x20, 0x02, 0x80, 0xd2, // mov x0, 17
            0x01, 0x03, 0x00, 0x10, // adr x1, act
            0x02, 0x00, 0x80, 0xd2, // mov x2, 0
            0x03, 0x01, 0x80, 0xd2, // mov x3, 8
            0x01, 0x00, 0x00, 0xd4, // svc 0
            0xe8, 0x10, 0x80, 0xd2, // mov x8, 135 (rt_sigprocmask)
            0x00, 0x00, 0x80, 0xd2, // mov x0, 0
            0x01, 0x02, 0x00, 0x10, // adr x1, set
            0x02, 0x00, 0x80, 0xd2, // mov x2, 0
            0x03, 0x01, 0x80, 0xd2, // mov x3, 8
            0x01, 0x00, 0x00, 0xd4, // svc 0
            0x28, 0x11, 0x80, 0xd2, // again: mov x8, 137 (rt_sigtimedwait)
            0x60, 0x01, 0x00, 0x10, // adr x0, set
            0x01, 0x00, 0x80, 0xd2, // mov x1, 0
            0x02, 0x00, 0x80, 0xd2, // mov x2, 0
            0x03, 0x01, 0x80, 0xd2, // mov x3, 8
            0x01, 0x00, 0x00, 0xd4, // svc 0
            0x1f, 0x00, 0x00, 0xf1, // cmp x0, 0
            0x2d, 0xff, 0xff, 0x54, // b.le again
            0xa8, 0x0b, 0x80, 0xd2, // mov x8, 93 (exit)
            0x00, 0x00, 0x80, 0xd2, // mov x0, 0
            0x01, 0x00, 0x00, 0xd4, // svc 0
            0x1f, 0x20, 0x03, 0xd5, // nop
            0x02, 0x40, 0, 0, 0, 0, 0, 0, // set
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // act
        ],
        layer: "090416f169ba48e3a4285d5f53f63d8db7f82b6c23143da64dafb7f4d1eac221",
    },
];

/// The archive for the machine that this runs on, which is the engine's: it is reached over a Unix socket.
///
/// # Errors
/// On an architecture without a program.
pub fn archive() -> io::Result<Vec<u8>> {
    let program = PROGRAMS.iter().find(|program| program.arch == ARCH);
    archive_of(program.ok_or_else(|| io::Error::other(format!("no sandbox image for {ARCH}")))?)
}

fn archive_of(program: &Program) -> io::Result<Vec<u8>> {
    let Program { image_arch, layer, .. } = program;
    let config = json!({
        "architecture": image_arch, "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": ["/pause"], "User": "65534:65534"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    tar(&[
        ("config.json", 0o644, config.to_string().as_bytes()),
        ("layer.tar", 0o644, &layer_of(program)?),
        ("manifest.json", 0o644, manifest.to_string().as_bytes()),
    ])
}

fn layer_of(program: &Program) -> io::Result<Vec<u8>> {
    tar(&[("pause", 0o755, &elf(program)?)])
}

/// An executable of one segment: headers, code and constants, readable and executable.
fn elf(program: &Program) -> io::Result<Vec<u8>> {
    let Program { machine, code, .. } = program;
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // e_type EXEC, e_machine, e_version.
    for half in [2, *machine, 1, 0] {
        file.write_all(&u16::to_le_bytes(half))?;
    }
    // e_entry, e_phoff, e_shoff.
    for word in [BASE + HEADERS, 64, 0] {
        file.write_all(&u64::to_le_bytes(word))?;
    }
    // e_flags (two halves), e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
    for half in [0, 0, 64, 56, 1, 0, 0, 0] {
        file.write_all(&u16::to_le_bytes(half))?;
    }
    // p_type LOAD, p_flags R + X.
    for half in [1, 0, 5, 0] {
        file.write_all(&u16::to_le_bytes(half))?;
    }
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align.
    for word in [0, BASE, BASE, size, size, 0x1_0000] {
        file.write_all(&u64::to_le_bytes(word))?;
    }
    file.write_all(code)?;
    Ok(file)
}

/// A `ustar` archive of plain files, all of root and of the first second of 1970.
fn tar(files: &[(&str, u32, &[u8])]) -> io::Result<Vec<u8>> {
    const BLOCK: usize = 512;
    let mut archive = Vec::new();
    for (name, mode, data) in files {
        // Owner and group 0; size; time 0; the sum's place counts as blanks; a plain file.
        let fields = format!("{mode:07o}\0{0:07o}\0{0:07o}\0{1:011o}\0{0:011o}\0        0", 0, data.len());
        let mut header = vec![0; BLOCK];
        let parts: [(usize, &[u8]); 3] = [(0, name.as_bytes()), (100, fields.as_bytes()), (257, b"ustar\x0000")];
        for (at, part) in parts {
            (&mut header[at..]).write_all(part)?;
        }
        let mut sum = String::new();
        write!(sum, "{:06o}\0 ", header.iter().map(|byte| u32::from(*byte)).sum::<u32>()).map_err(io::Error::other)?;
        (&mut header[148..]).write_all(sum.as_bytes())?;
        archive.write_all(&header)?;
        archive.write_all(data)?;
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_small_and_its_headers_are_right_d207() {
        for program in &PROGRAMS {
            let file = elf(program).unwrap();
            assert_eq!(file.len() as u64, HEADERS + program.code.len() as u64);
            assert_eq!(u16::from_le_bytes([file[18], file[19]]), program.machine);
            assert!(file.len() < 688, "{}", file.len());
            // The constants are read as quadwords.
            assert_eq!(program.code.len() % 8, 0);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_program_ends_at_once_on_term_d207() {
        use std::{os::unix::fs::PermissionsExt as _, process::Command};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pause");
        std::fs::write(&path, elf(&PROGRAMS[0]).unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // A shell waits until it sleeps, since TERM before its mask is set would end it otherwise.
        let script = "\"$0\" & p=$!; until grep -q '^State:.S' /proc/$p/status; do :; done; kill -TERM $p; wait $p";
        let status = Command::new("sh").arg("-c").arg(script).arg(&path).status().unwrap();
        assert_eq!(status.code(), Some(0));
    }

    #[test]
    fn the_archive_is_the_same_every_time_d207() {
        for program in &PROGRAMS {
            assert_eq!(archive_of(program).unwrap(), archive_of(program).unwrap());
        }
        let layer = layer_of(&PROGRAMS[0]).unwrap();
        assert_eq!(&layer[257..262], b"ustar");
        assert_eq!(layer.len(), 512 + 512 + 1024);
    }
}

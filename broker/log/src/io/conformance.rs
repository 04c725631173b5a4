//! The suite that every implementation of [`LogIo`] passes.

use std::{
    io::{ErrorKind, IoSlice},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{DiskIo, FaultIo, LogIo, MemoryIo, OpenMode, RecordingIo, Trace};

/// Runs `check` on an empty directory of each implementation.
fn each(check: impl Fn(&dyn LogIo, &Path)) {
    let temp = TempDir::new().unwrap();
    let at = |name: &str| {
        let path = temp.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let memory = MemoryIo::new();
    let root = Path::new("/data/of/test");
    memory.create_dir_all(root).unwrap();
    let recording = RecordingIo::create(DiskIo, &temp.path().join("trace")).unwrap();
    check(&DiskIo, &at("disk"));
    check(&memory, root);
    check(&FaultIo::new(DiskIo), &at("fault"));
    check(&recording, &at("recording"));
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn put(io: &dyn LogIo, path: &Path, bytes: &[u8]) {
    let file = io.open(path, OpenMode::Create).unwrap();
    file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
}

fn contents(io: &dyn LogIo, path: &Path) -> Vec<u8> {
    let file = io.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn open_modes_find_create_and_refuse() {
    each(|io, root| {
        let path = root.join("a");
        assert_eq!(kind(io.open(&path, OpenMode::Read)), ErrorKind::NotFound);
        assert_eq!(kind(io.open(&path, OpenMode::Write)), ErrorKind::NotFound);
        let file = io.open(&path, OpenMode::CreateNew).unwrap();
        assert!(file.is_empty().unwrap());
        assert_eq!(file.path(), path);
        assert_eq!(
            kind(io.open(&path, OpenMode::CreateNew)),
            ErrorKind::AlreadyExists
        );
        put(io, &path, b"x");
        io.open(&path, OpenMode::Create).unwrap();
        assert_eq!(
            contents(io, &path),
            b"x",
            "an existing file keeps its bytes"
        );
        let missing = root.join("no/such/dir");
        assert_eq!(
            kind(io.open(&missing, OpenMode::Create)),
            ErrorKind::NotFound
        );
    });
}

#[test]
fn file_opened_for_reading_cannot_be_written() {
    each(|io, root| {
        let path = root.join("a");
        put(io, &path, b"x");
        let file = io.open(&path, OpenMode::Read).unwrap();
        assert!(file.write_all_at(&[IoSlice::new(b"y")], 0).is_err());
        assert!(file.set_len(0).is_err());
        assert!(file.allocate(4096).is_err());
        assert_eq!(contents(io, &path), b"x");
    });
}

#[test]
fn vectored_writes_land_in_order_at_the_position_and_gaps_read_as_zeros() {
    each(|io, root| {
        let file = io.open(&root.join("a"), OpenMode::Create).unwrap();
        file.write_all_at(
            &[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")],
            3,
        )
        .unwrap();
        assert_eq!(contents(io, file.path()), b"\0\0\0abcd");
        file.write_all_at(&[IoSlice::new(b"XY")], 4).unwrap();
        assert_eq!(contents(io, file.path()), b"\0\0\0aXYd");
        file.write_all_at(&[], 0).unwrap();
        let many: Vec<[u8; 2]> = (0_u16..3000).map(u16::to_le_bytes).collect();
        let slices: Vec<IoSlice<'_>> = many.iter().map(|pair| IoSlice::new(pair)).collect();
        file.write_all_at(&slices, 1).unwrap();
        assert_eq!(contents(io, file.path())[1..], many.concat());
    });
}

#[test]
fn reads_stop_at_the_end() {
    each(|io, root| {
        let path = root.join("a");
        put(io, &path, b"abc");
        let file = io.open(&path, OpenMode::Read).unwrap();
        let mut buffer = [9; 4];
        assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 2);
        assert_eq!(&buffer, b"bc\x09\x09");
        assert_eq!(file.read_at(&mut buffer, 3).unwrap(), 0);
        assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
        assert_eq!(
            kind(file.read_exact_at(&mut buffer, 0)),
            ErrorKind::UnexpectedEof
        );
        file.read_exact_at(&mut buffer[..3], 0).unwrap();
        assert_eq!(&buffer[..3], b"abc");
    });
}

#[test]
fn allocation_keeps_the_length_and_set_len_changes_it() {
    each(|io, root| {
        let path = root.join("a");
        put(io, &path, b"abc");
        let file = io.open(&path, OpenMode::Write).unwrap();
        file.allocate(1 << 16).unwrap();
        assert_eq!(file.len().unwrap(), 3);
        assert_eq!(io.metadata(&path).unwrap().len, 3);
        file.set_len(5).unwrap();
        assert_eq!(contents(io, &path), b"abc\0\0");
        file.set_len(1).unwrap();
        file.set_len(2).unwrap();
        assert_eq!(contents(io, &path), b"a\0");
        file.allocate(0).unwrap();
        file.sync_data().unwrap();
    });
}

#[test]
fn rename_replaces_and_open_handles_follow_the_file() {
    each(|io, root| {
        let (a, b) = (root.join("a"), root.join("b"));
        put(io, &a, b"new");
        put(io, &b, b"old");
        let replaced = io.open(&b, OpenMode::Write).unwrap();
        let moved = io.open(&a, OpenMode::Write).unwrap();
        io.rename(&a, &b).unwrap();
        io.sync_dir(root).unwrap();
        assert_eq!(contents(io, &b), b"new");
        assert_eq!(kind(io.metadata(&a)), ErrorKind::NotFound);
        moved.write_all_at(&[IoSlice::new(b"N")], 0).unwrap();
        replaced.write_all_at(&[IoSlice::new(b"O")], 0).unwrap();
        assert_eq!(contents(io, &b), b"New");
        let mut buffer = [0; 3];
        replaced.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"Old");
        assert_eq!(kind(io.rename(&a, &b)), ErrorKind::NotFound);
    });
}

#[test]
fn directories_nest_list_move_and_go_when_empty() {
    each(|io, root| {
        let (deep, top) = (root.join("x/y"), root.join("x"));
        io.create_dir_all(&deep).unwrap();
        io.create_dir_all(&deep).unwrap();
        put(io, &top.join("b"), b"");
        put(io, &top.join("a"), b"");
        let listed: Vec<(PathBuf, bool)> = io
            .list_dir(&top)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.name, entry.is_dir))
            .collect();
        let expected = [("a", false), ("b", false), ("y", true)];
        assert_eq!(listed, expected.map(|(name, is_dir)| (name.into(), is_dir)));
        assert!(io.metadata(&deep).unwrap().is_dir);
        assert_eq!(kind(io.remove_dir(&top)), ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind(io.list_dir(&root.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(io.list_dir(&top.join("a"))), ErrorKind::NotADirectory);
        assert_eq!(kind(io.sync_dir(&top.join("a"))), ErrorKind::NotADirectory);
        assert_eq!(kind(io.sync_dir(&root.join("no"))), ErrorKind::NotFound);
        io.rename(&top, &root.join("z")).unwrap();
        assert_eq!(io.list_dir(&root.join("z")).unwrap().len(), 3);
        io.remove_dir(&root.join("z/y")).unwrap();
        assert_eq!(kind(io.remove_dir(&root.join("z/y"))), ErrorKind::NotFound);
    });
}

#[test]
fn removed_file_stays_readable_through_handles_and_maps() {
    each(|io, root| {
        let path = root.join("a");
        put(io, &path, b"abc");
        let file = io.open(&path, OpenMode::Read).unwrap();
        let map = file.map(3).unwrap();
        io.remove_file(&path).unwrap();
        assert_eq!(kind(io.remove_file(&path)), ErrorKind::NotFound);
        let mut buffer = [0; 3];
        file.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"abc");
        map.populate(0..3).unwrap();
        assert_eq!(map.copy(1..3).unwrap(), "bc");
        assert_eq!(map.read(0..3, <[u8]>::to_vec).unwrap(), b"abc");
    });
}

#[test]
fn map_past_the_end_is_refused_and_preallocated_bytes_do_not_count() {
    each(|io, root| {
        let path = root.join("a");
        put(io, &path, b"abc");
        let file = io.open(&path, OpenMode::Write).unwrap();
        file.allocate(8192).unwrap();
        assert_eq!(kind(file.map(4)), ErrorKind::InvalidInput);
        assert!(file.map(0).unwrap().is_empty());
        assert_eq!(file.map(2).unwrap().len(), 2);
    });
}

#[test]
fn lock_is_exclusive_until_dropped_and_names_its_holder() {
    each(|io, root| {
        let path = root.join("lock");
        let mut guard = io.try_lock(&path).unwrap().expect("free");
        guard.describe_holder("a longer text").unwrap();
        guard.describe_holder("pid 7").unwrap();
        assert!(io.try_lock(&path).unwrap().is_none());
        assert_eq!(contents(io, &path), b"pid 7");
        drop(guard);
        assert!(io.try_lock(&path).unwrap().is_some());
    });
}

#[test]
fn space_is_known_and_available_is_at_most_total() {
    each(|io, root| {
        let space = io.space(root).unwrap();
        assert!(space.total > 0 && space.available <= space.total);
        assert_eq!(kind(io.space(&root.join("no"))), ErrorKind::NotFound);
    });
}

#[test]
fn new_files_and_directories_on_disk_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let temp = TempDir::new().unwrap();
    let dir = temp.path().join("d");
    DiskIo.create_dir_all(&dir).unwrap();
    put(&DiskIo, &dir.join("a"), b"");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.join("a")), 0o600);
    assert_eq!(mode(&dir), 0o700);
}

/// One step of a random history over a handful of names.
#[derive(Debug, Clone)]
enum Step {
    Write {
        file: u8,
        position: u16,
        byte: u8,
        length: u16,
    },
    SetLen {
        file: u8,
        length: u16,
    },
    Rename {
        from: u8,
        to: u8,
    },
    Remove {
        file: u8,
    },
    MakeDir {
        dir: u8,
    },
    RemoveDir {
        dir: u8,
    },
}

/// Files 0-2 lie in the root, 3-5 in its directory `d0`.
fn name(root: &Path, file: u8) -> PathBuf {
    if file < 3 {
        root.join(format!("f{file}"))
    } else {
        root.join(format!("d0/f{file}"))
    }
}

impl Step {
    fn run(&self, io: &dyn LogIo, root: &Path) -> Result<(), ErrorKind> {
        let open = |file| io.open(&name(root, file), OpenMode::Create);
        let done = match *self {
            Self::Write {
                file,
                position,
                byte,
                length,
            } => open(file).and_then(|file| {
                let bytes = vec![byte; usize::from(length)];
                file.write_all_at(&[IoSlice::new(&bytes)], position.into())
            }),
            Self::SetLen { file, length } => {
                open(file).and_then(|file| file.set_len(length.into()))
            }
            Self::Rename { from, to } => io.rename(&name(root, from), &name(root, to)),
            Self::Remove { file } => io.remove_file(&name(root, file)),
            Self::MakeDir { dir } => io.create_dir_all(&root.join(format!("d{dir}"))),
            Self::RemoveDir { dir } => io.remove_dir(&root.join(format!("d{dir}"))),
        };
        done.map_err(|error| error.kind())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6_u8, 0..2000_u16, any::<u8>(), 0..1500_u16).prop_map(
            |(file, position, byte, length)| Step::Write {
                file,
                position,
                byte,
                length
            }
        ),
        (0..6_u8, 0..3000_u16).prop_map(|(file, length)| Step::SetLen { file, length }),
        (0..6_u8, 0..6_u8).prop_map(|(from, to)| Step::Rename { from, to }),
        (0..6_u8).prop_map(|file| Step::Remove { file }),
        (0..2_u8).prop_map(|dir| Step::MakeDir { dir }),
        (0..2_u8).prop_map(|dir| Step::RemoveDir { dir }),
    ];
    prop::collection::vec(step, 1..40)
}

/// Every path below `at` with its content; `None` for directories.
fn tree(io: &dyn LogIo, root: &Path, at: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in io.list_dir(at).unwrap() {
        let path = at.join(&entry.name);
        let relative = path.strip_prefix(root).unwrap().to_path_buf();
        if entry.is_dir {
            found.push((relative, None));
            found.extend(tree(io, root, &path));
        } else {
            found.push((relative, Some(contents(io, &path))));
        }
    }
    found
}

/// Makes everything durable.
fn sync(io: &dyn LogIo, at: &Path) {
    for entry in io.list_dir(at).unwrap() {
        let path = at.join(&entry.name);
        if entry.is_dir {
            sync(io, &path);
        } else {
            io.open(&path, OpenMode::Write)
                .unwrap()
                .sync_data()
                .unwrap();
        }
    }
    io.sync_dir(at).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The disk is the model for memory, and for what a trace is replayed into.
    #[test]
    fn any_history_gives_the_same_files_on_disk_in_memory_and_from_a_trace(
        steps in steps(), seed: u64,
    ) {
        let temp = TempDir::new().unwrap();
        let on_disk = temp.path().join("data");
        let disk = RecordingIo::create(DiskIo, &temp.path().join("trace")).unwrap();
        let memory = MemoryIo::new();
        let in_memory = Path::new("/data");
        disk.create_dir_all(&on_disk).unwrap();
        memory.create_dir_all(in_memory).unwrap();
        for step in &steps {
            prop_assert_eq!(step.run(&disk, &on_disk), step.run(&memory, in_memory), "{:?}", step);
        }
        let expected = tree(&DiskIo, &on_disk, &on_disk);
        prop_assert_eq!(&tree(&memory, in_memory, in_memory), &expected);
        // Once all is synced no crash changes anything.
        sync(&memory, in_memory);
        memory.sync_dir(Path::new("/")).unwrap();
        prop_assert_eq!(&tree(&memory.crash(seed), in_memory, in_memory), &expected);
        sync(&disk, &on_disk);
        disk.sync_dir(temp.path()).unwrap();
        let trace = Trace::read(&temp.path().join("trace")).unwrap();
        let image = temp.path().join("image");
        trace.rebuild(trace.len(), seed, &on_disk, &image).unwrap();
        prop_assert_eq!(&tree(&DiskIo, &image, &image), &expected);
    }
}

//! [`Map`]: read-only bytes of a file, guarded against the file shrinking or failing underneath.
//!
//! The only module of this crate with `unsafe`. Touching a mapped page that the file no longer has, or that the
//! disk cannot deliver, raises SIGBUS. Bytes of a map are therefore only visible inside
//! [`Map::read`], which registers the range on its thread before it touches it:
//!
//! ```text
//!   read ──> frame on the stack, linked from a thread-local ──> closure touches a page
//!                                                                   │ SIGBUS
//!   handler: is the address inside a frame of this thread? ── no ──> previous handler (dies)
//!              │ yes
//!              poison the map, then put a zero page under the address, return
//!   closure ends on zeros ──> the map is poisoned ──> Err(MapFault), what it computed is dropped
//! ```
//!
//! Invariants: the handler takes no lock, allocates nothing and touches only the frames of the
//! thread it runs on; a map is poisoned before the first zero page is visible to any thread.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    fmt,
    fs::File,
    io,
    mem::MaybeUninit,
    ops::Range,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    ptr,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, compiler_fence},
    },
};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Read-only bytes of a file, cheap to clone; the mapping goes with the last clone.
///
/// Made of published bytes only: whoever maps promises that nobody overwrites or cuts them in
/// place. Where somebody does (another process, a failing disk), reads fail with [`MapFault`] and
/// go on failing: a poisoned map never heals, a new one has to be made.
#[derive(Clone)]
pub struct Map {
    inner: Arc<Inner>,
}

struct Inner {
    bytes: Backing,
    path: PathBuf,
    poisoned: AtomicBool,
}

enum Backing {
    /// A mapping, and the file it was made of, for the check of its length and as a fall-back.
    File { mapping: Mmap, file: Arc<File> },
    /// Plain memory, for file systems that live there.
    Memory(Bytes),
}

/// An open file of the system, for calls that take one; cheap to clone.
#[derive(Debug, Clone)]
pub struct Descriptor(Arc<File>);

impl Descriptor {
    pub(super) fn of(file: &Arc<File>) -> Self {
        Self(Arc::clone(file))
    }

    /// Whether the file is still so long.
    #[must_use]
    pub fn reaches(&self, end: u64) -> bool {
        self.0
            .metadata()
            .is_ok_and(|metadata| metadata.len() >= end)
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A range of a map could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapFault {
    /// The file shrank under the map, the disk failed to deliver a page, or it did so earlier.
    #[error("{path}: mapped bytes {start}..{end} are gone: the file shrank or its disk failed", path = path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
        /// First byte asked for.
        start: usize,
        /// End (exclusive) of what was asked for.
        end: usize,
    },
    /// The range does not lie in the map.
    #[error("{path}: bytes {start}..{end} lie outside of the {len} bytes mapped", path = path.display())]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// First byte asked for.
        start: usize,
        /// End (exclusive) of what was asked for.
        end: usize,
        /// Bytes mapped.
        len: usize,
    },
}

impl From<MapFault> for io::Error {
    fn from(fault: MapFault) -> Self {
        let kind = match fault {
            MapFault::Poisoned { .. } => io::ErrorKind::UnexpectedEof,
            MapFault::OutOfRange { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, fault)
    }
}

impl Map {
    /// A map over plain memory; `path` is for messages.
    #[must_use]
    pub fn from_bytes(bytes: Bytes, path: impl Into<PathBuf>) -> Self {
        Self::new(Backing::Memory(bytes), path.into())
    }

    /// Maps the first `length` bytes of `file`.
    ///
    /// # Errors
    /// `InvalidInput` when the file is shorter; whatever the system says.
    pub(super) fn of_file(file: &Arc<File>, length: u64, path: &Path) -> io::Result<Self> {
        let file_len = file.metadata()?.len();
        let past_the_end = || {
            let reason = format!(
                "{}: map of {length} bytes, file has {file_len}",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidInput, reason)
        };
        if length > file_len {
            return Err(past_the_end());
        }
        let length = usize::try_from(length).map_err(|_| past_the_end())?;
        if length == 0 {
            return Ok(Self::from_bytes(Bytes::new(), path));
        }
        install_handler()?;
        // SAFETY: the mapping is private to this module and its bytes are touched only inside
        // `Inner::guarded`, so that a page that vanishes (the file is cut) faults under the
        // handler. Bytes below a log's published end are never overwritten by this process; another
        // process that does so can make a reader see different bytes from one load to the next,
        // which readers tolerate as they would a corrupt file: they check bounds and checksums on
        // what they copied, and nothing relies on two loads being equal for memory safety.
        let mapping = unsafe { MmapOptions::new().len(length).map(&**file)? };
        let file = Arc::clone(file);
        Ok(Self::new(
            Backing::File { mapping, file },
            path.to_path_buf(),
        ))
    }

    fn new(bytes: Backing, path: PathBuf) -> Self {
        let poisoned = AtomicBool::new(false);
        Self {
            inner: Arc::new(Inner {
                bytes,
                path,
                poisoned,
            }),
        }
    }

    /// Bytes mapped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether no byte is mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The file that is mapped, from which a socket can take bytes itself; `None` where the map is plain
    /// memory.
    #[must_use]
    pub fn descriptor(&self) -> Option<Descriptor> {
        match &self.inner.bytes {
            Backing::File { file, .. } => Some(Descriptor::of(file)),
            Backing::Memory(_) => None,
        }
    }

    /// Whether all of the range is in the page cache, so that reading it does not wait for the disk.
    #[must_use]
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        self.check(&range).is_ok() && self.inner.is_resident(&range)
    }

    /// Whether an earlier read faulted; every further read fails.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.inner.poisoned.load(Ordering::Acquire)
    }

    /// Makes every further read fail, as a fault would.
    pub fn poison(&self) {
        self.inner.poisoned.store(true, Ordering::Release);
    }

    /// Brings the range into the page cache where it is not there yet (`MADV_POPULATE_READ`, plain reads
    /// where the kernel lacks it), so that later reads do not wait for the disk. Blocks; for a blocking pool.
    ///
    /// # Errors
    /// [`MapFault`] when the range is not in the map or the file no longer has it.
    pub fn populate(&self, range: Range<usize>) -> Result<(), MapFault> {
        self.check(&range)?;
        match self.inner.populate(&range) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.fault(&range)),
        }
    }

    /// Hands the range's bytes to `reader`. If the file shrank or failed meanwhile, the bytes read
    /// as zeros from there on, and what `reader` returned is dropped for an error.
    ///
    /// # Errors
    /// [`MapFault`] when the range is not in the map, or on a fault, now or earlier.
    ///
    /// # Panics
    /// When `reader` does; the guard is taken down.
    pub fn read<T>(
        &self,
        range: Range<usize>,
        reader: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, MapFault> {
        self.check(&range)?;
        let result = self.inner.guarded(&range, reader);
        if self.inner.shrank_below(range.end) {
            self.poison();
        }
        if self.is_poisoned() {
            Err(self.fault(&range))
        } else {
            Ok(result)
        }
    }

    /// Copies the range out; no copy where the map is plain memory.
    ///
    /// # Errors
    /// As [`Map::read`].
    pub fn copy(&self, range: Range<usize>) -> Result<Bytes, MapFault> {
        if let Backing::Memory(bytes) = &self.inner.bytes {
            self.check(&range)?;
            return Ok(bytes.slice(range));
        }
        self.read(range, Bytes::copy_from_slice)
    }

    fn check(&self, range: &Range<usize>) -> Result<(), MapFault> {
        if range.start > range.end || range.end > self.len() {
            return Err(MapFault::OutOfRange {
                path: self.inner.path.clone(),
                start: range.start,
                end: range.end,
                len: self.len(),
            });
        }
        if self.is_poisoned() {
            Err(self.poisoned_error(range))
        } else {
            Ok(())
        }
    }

    fn fault(&self, range: &Range<usize>) -> MapFault {
        self.poison();
        self.poisoned_error(range)
    }

    fn poisoned_error(&self, range: &Range<usize>) -> MapFault {
        let path = self.inner.path.clone();
        MapFault::Poisoned {
            path,
            start: range.start,
            end: range.end,
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("path", &self.inner.path)
            .field("len", &self.len())
            .field("poisoned", &self.is_poisoned())
            .finish()
    }
}

/// Bytes read at a time where the kernel cannot populate.
const POPULATE_READ_BYTES: usize = 64 * 1024;

/// Number of the system call, the same on all architectures.
const CACHESTAT: libc::c_long = 451;

/// Bytes of a file, as `cachestat` is asked for them.
#[repr(C)]
struct CacheRange {
    position: u64,
    length: u64,
}

/// What `cachestat` says of them, in pages.
#[repr(C)]
struct CacheState {
    cached: u64,
    _dirty: u64,
    _written_back: u64,
    _evicted: u64,
    _recently_evicted: u64,
}

impl Inner {
    fn len(&self) -> usize {
        match &self.bytes {
            Backing::File { mapping, .. } => mapping.len(),
            Backing::Memory(bytes) => bytes.len(),
        }
    }

    /// Whether the file has ended before `end` by now. A cut within a page leaves zeros without a
    /// fault, so a read is only believed after this check.
    fn shrank_below(&self, end: usize) -> bool {
        match &self.bytes {
            Backing::File { file, .. } => !Descriptor::of(file).reaches(end as u64),
            Backing::Memory(_) => false,
        }
    }

    /// Asked of the page cache (`cachestat`, Linux 6.5), which costs less than populating: that makes an entry
    /// in the page table of each page. False where the kernel cannot tell.
    fn is_resident(&self, range: &Range<usize>) -> bool {
        let Backing::File { file, .. } = &self.bytes else {
            return true;
        };
        let start = page_start(range.start);
        let length = range.end - start;
        let asked = CacheRange {
            position: start as u64,
            length: length as u64,
        };
        let mut found = MaybeUninit::<CacheState>::zeroed();
        let no_flags: libc::c_uint = 0;
        // SAFETY: the kernel reads `asked` and writes `found`, both laid out as it declares them and alive
        // during the call; all-zero bytes are a value of `found` before it does.
        let (answer, found) = unsafe {
            let (fd, found_at) = (file.as_raw_fd(), found.as_mut_ptr());
            let answer = libc::syscall(CACHESTAT, fd, &raw const asked, found_at, no_flags);
            (answer, found.assume_init())
        };
        let pages = length.div_ceil(page_bytes()) as u64;
        answer == 0 && found.cached >= pages
    }

    fn populate(&self, range: &Range<usize>) -> io::Result<()> {
        let Backing::File { mapping, file } = &self.bytes else {
            return Ok(());
        };
        if range.is_empty() || self.is_resident(range) {
            return Ok(());
        }
        let start = page_start(range.start);
        let address = mapping.as_ptr().wrapping_add(start).cast_mut().cast();
        // SAFETY: start..end lies within the mapping, which `self` keeps alive, and starts on a
        // page as the mapping does. MADV_POPULATE_READ changes no byte and no protection; a page
        // that cannot be had is an error (EFAULT), not a signal.
        let advised =
            unsafe { rustix::mm::madvise(address, range.end - start, Advice::LinuxPopulateRead) };
        match advised {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::INVAL) => read_through(file, range),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Runs `reader` on the range with faults on it caught; the caller looks at `poisoned` after.
    fn guarded<T>(&self, range: &Range<usize>, reader: impl FnOnce(&[u8]) -> T) -> T {
        let mapping = match &self.bytes {
            Backing::File { mapping, .. } => mapping,
            Backing::Memory(bytes) => {
                return reader(bytes.get(range.clone()).expect("range was checked"));
            }
        };
        let frame = Frame {
            start: mapping.as_ptr().addr(),
            len: mapping.len(),
            poisoned: &raw const self.poisoned,
            outer: TOP_FRAME.get(),
        };
        let _registered = Registered::new(&frame);
        // SAFETY: the range lies within the mapping (checked by the caller), which `self` keeps
        // alive until after `reader`; the reference cannot outlive the call, as `reader` takes any
        // lifetime. What may change under it is argued where the mapping is made; a page that is
        // gone faults into the handler, which the frame above tells to put zeros there.
        let bytes =
            unsafe { std::slice::from_raw_parts(mapping.as_ptr().add(range.start), range.len()) };
        reader(bytes)
    }
}

/// Where the page begins that holds a byte.
fn page_start(position: usize) -> usize {
    position - position % page_bytes()
}

fn read_through(file: &File, range: &Range<usize>) -> io::Result<()> {
    let mut buffer = vec![0; POPULATE_READ_BYTES.min(range.len())];
    let mut position = range.start;
    while position < range.end {
        let wanted = buffer.len().min(range.end - position);
        let part = buffer
            .get_mut(..wanted)
            .expect("wanted is at most the buffer's length");
        file.read_exact_at(part, position as u64)?;
        position += wanted;
    }
    Ok(())
}

/// One guarded read in progress on this thread; nested reads link outwards.
struct Frame {
    start: usize,
    len: usize,
    poisoned: *const AtomicBool,
    outer: *const Frame,
}

thread_local! {
    /// Innermost guarded read of this thread. Constant start and no destructor: reading it in a
    /// signal handler runs no initialiser.
    static TOP_FRAME: Cell<*const Frame> = const { Cell::new(ptr::null()) };
}

/// Keeps a frame linked while it lives; also when the reader unwinds.
struct Registered<'a> {
    frame: &'a Frame,
}

impl<'a> Registered<'a> {
    fn new(frame: &'a Frame) -> Self {
        TOP_FRAME.set(frame);
        // The handler runs on this thread: the compiler must not move loads above the link.
        compiler_fence(Ordering::SeqCst);
        Self { frame }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        TOP_FRAME.set(self.frame.outer);
    }
}

/// Page size, stored before the handler is installed: it must not ask for it.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What handled SIGBUS before us; null until known.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Installs the handler, once in the life of the process.
fn install_handler() -> io::Result<()> {
    static INSTALL: Once = Once::new();
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    INSTALL.call_once(|| INSTALLED.store(install().is_ok(), Ordering::Release));
    if INSTALLED.load(Ordering::Acquire) {
        Ok(())
    } else {
        Err(io::Error::other("cannot install the SIGBUS handler"))
    }
}

fn install() -> io::Result<()> {
    PAGE_BYTES.store(page_bytes(), Ordering::Release);
    let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; `previous` is a place for the answer. All zeros is a
    // valid `sigaction` (default action), so it is initialised either way.
    let previous = unsafe {
        check(libc::sigaction(
            libc::SIGBUS,
            ptr::null(),
            previous.as_mut_ptr(),
        ))?;
        previous.assume_init()
    };
    // Leaked: the handler may look at it until the process ends.
    PREVIOUS.store(Box::into_raw(Box::new(previous)), Ordering::Release);
    // SAFETY: zeros are a valid `sigaction` with an empty mask; handler and flags are set below.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `action` is complete, and `on_sigbus` has the signature SA_SIGINFO asks for and does
    // only what is async-signal-safe.
    check(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) })
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Async-signal-safe: atomics, this thread's frames, and raw system calls that leave errno alone.
extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo, and for SIGBUS it holds an
    // address (zero-like garbage for one sent by kill, which matches no frame but by chance of a
    // sender that is allowed to kill us anyway).
    let address = unsafe { (*info).si_addr() }.addr();
    // SAFETY: as above.
    let from_kernel = unsafe { (*info).si_code } > 0;
    if from_kernel && cover_with_zeros(address) {
        return;
    }
    pass_on(signal, info, context);
}

/// Poisons the map that the address belongs to and puts a zero page there; false when no guarded
/// read of this thread covers the address.
fn cover_with_zeros(address: usize) -> bool {
    let mut next = TOP_FRAME.get();
    // SAFETY: frames are linked only while they live on this thread's stack, below which this
    // handler interrupts; so each non-null pointer in the chain is valid and not being changed.
    while let Some(frame) = unsafe { next.as_ref() } {
        if address >= frame.start && address - frame.start < frame.len {
            // SAFETY: the flag lives in the map, which the guarded read borrows.
            unsafe { (*frame.poisoned).store(true, Ordering::SeqCst) };
            return map_zero_page(address);
        }
        next = frame.outer;
    }
    false
}

fn map_zero_page(address: usize) -> bool {
    let page = PAGE_BYTES.load(Ordering::Acquire);
    let start = ptr::with_exposed_provenance_mut(address - address % page);
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: the page belongs to a mapping of ours (the caller found its frame; mappings are
    // whole pages) that the interrupted read keeps alive, so nothing else lives there; it stays
    // readable, and is unmapped together with the mapping around it.
    unsafe { rustix::mm::mmap_anonymous(start, page, ProtFlags::READ, flags) }.is_ok()
}

/// Hands a fault that is not ours to the handler before us; the default action kills.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: null or a leaked box, written before this handler was installed.
    let previous = unsafe { PREVIOUS.load(Ordering::Acquire).as_ref() };
    match previous {
        Some(previous)
            if previous.sa_sigaction != libc::SIG_DFL && previous.sa_sigaction != libc::SIG_IGN =>
        {
            call(previous, signal, info, context);
        }
        _ => {
            // SAFETY: zeros are the default action; returning then repeats the access, which kills.
            unsafe {
                let default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
    }
}

fn call(
    previous: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    type Plain = extern "C" fn(libc::c_int);
    type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    let address = ptr::with_exposed_provenance::<()>(previous.sa_sigaction);
    if previous.sa_flags & libc::SA_SIGINFO == 0 {
        // SAFETY: neither default nor ignore (checked by the caller), and without SA_SIGINFO: the
        // address of a function of this signature, by the contract of `sigaction`.
        let handler = unsafe { std::mem::transmute::<*const (), Plain>(address) };
        handler(signal);
    } else {
        // SAFETY: as above, with SA_SIGINFO.
        let handler = unsafe { std::mem::transmute::<*const (), WithInfo>(address) };
        handler(signal, info, context);
    }
}

#[cfg(test)]
mod tests;

//! [`Image`]: a file system in memory that knows what a power cut may leave of it.
//!
//! Every file and every directory has a live state, a durable state, and the operations between:
//!
//! ```text
//!   durable ──+ pending operations (by their sequence number) ──= live
//!   sync:  operations up to a sequence number move into durable
//!   crash: durable + any subset of the pending ones; writes may tear at 512-byte sectors
//! ```
//!
//! A file's sync covers its bytes and length, never its name; a directory's sync covers its
//! entries, never what they lead to. A rename is one operation: a crash shows all or nothing of
//! it. [`MemoryIo`](super::MemoryIo) works on an image, and a recorded trace is replayed into one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Component, Path},
};

use super::{DirEntry, Metadata, OpenMode, Space, dice::Dice};

/// Smallest unit that a disk writes whole.
const SECTOR_BYTES: u64 = 512;

/// Stands for a file or directory, whatever its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(usize);

#[derive(Debug, Clone)]
pub(super) struct Image {
    nodes: BTreeMap<NodeId, Node>,
    /// Operations so far; the sequence number of the next one.
    pub(super) sequence: u64,
    /// Renames between directories of which one was synced: they are durable as a whole.
    half_synced: BTreeSet<u64>,
    capacity_bytes: u64,
    used_bytes: u64,
}

#[derive(Debug, Clone)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug, Clone, Default)]
struct FileNode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<FileOperation>,
    allocated: u64,
    is_linked: bool,
}

#[derive(Debug, Clone)]
struct FileOperation {
    sequence: u64,
    /// A failed flush gave it up: no later sync makes it durable.
    is_given_up: bool,
    change: FileChange,
}

impl FileOperation {
    /// What is left of a write, in up to two pieces, when a later change lies over it.
    fn without(self, later: &FileChange) -> Vec<Self> {
        let FileChange::Write { position, bytes } = &self.change else {
            return vec![self];
        };
        let (start, end) = (*position, *position + bytes.len() as u64);
        let (gone_from, gone_to) = match later {
            FileChange::Write { position, bytes } => (*position, *position + bytes.len() as u64),
            FileChange::SetLen(length) => (*length, u64::MAX),
        };
        let pieces = [start..end.min(gone_from), start.max(gone_to)..end];
        let left = pieces.into_iter().filter(|piece| piece.start < piece.end);
        left.map(|piece| {
            let inside = |at: u64| usize::try_from(at - start).expect("it lies in a vector");
            let bytes = bytes
                .get(inside(piece.start)..inside(piece.end))
                .unwrap_or_default();
            Self {
                change: FileChange::Write {
                    position: piece.start,
                    bytes: bytes.to_vec(),
                },
                ..self
            }
        })
        .collect()
    }
}

#[derive(Debug, Clone)]
enum FileChange {
    Write { position: u64, bytes: Vec<u8> },
    SetLen(u64),
}

#[derive(Debug, Clone, Default)]
struct DirNode {
    live: BTreeMap<OsString, NodeId>,
    durable: BTreeMap<OsString, NodeId>,
    pending: Vec<DirOperation>,
}

/// A name gets a target, or loses it. Parts of one rename share the sequence number.
#[derive(Debug, Clone)]
struct DirOperation {
    sequence: u64,
    name: OsString,
    target: Option<NodeId>,
}

impl FileNode {
    fn footprint(&self) -> u64 {
        if self.is_linked {
            self.allocated.max(self.live.len() as u64)
        } else {
            0
        }
    }
}

impl FileChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write {
                position,
                bytes: data,
            } => overwrite(bytes, *position, data),
            Self::SetLen(length) => bytes.resize(index(*length), 0),
        }
    }

    /// Applies some of the sectors; the length may reach the end all the same.
    fn tear(&self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        let Self::Write {
            position,
            bytes: data,
        } = self
        else {
            return;
        };
        let end = position + data.len() as u64;
        let mut start = *position;
        while start < end {
            let sector_end = (start - start % SECTOR_BYTES + SECTOR_BYTES).min(end);
            if dice.coin() {
                let range = index(start - position)..index(sector_end - position);
                overwrite(bytes, start, data.get(range).unwrap_or_default());
            }
            start = sector_end;
        }
        if dice.coin() && (bytes.len() as u64) < end {
            bytes.resize(index(end), 0);
        }
    }
}

/// Writes as `pwrite` does: a gap before the position reads as zeros, and nothing makes no file longer.
fn overwrite(bytes: &mut Vec<u8>, position: u64, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let start = index(position);
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes
        .get_mut(start..end)
        .expect("resized to hold it")
        .copy_from_slice(data);
}

fn index(position: u64) -> usize {
    usize::try_from(position).expect("files in memory are small")
}

fn error<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

impl Image {
    const ROOT: NodeId = NodeId(0);

    pub(super) fn new(capacity_bytes: u64) -> Self {
        let nodes = BTreeMap::from([(Self::ROOT, Node::Dir(DirNode::default()))]);
        let half_synced = BTreeSet::new();
        Self {
            nodes,
            sequence: 0,
            half_synced,
            capacity_bytes,
            used_bytes: 0,
        }
    }

    pub(super) fn set_capacity(&mut self, capacity_bytes: u64) {
        self.capacity_bytes = capacity_bytes;
    }

    pub(super) const fn space(&self) -> Space {
        let available = self.capacity_bytes.saturating_sub(self.used_bytes);
        Space {
            total: self.capacity_bytes,
            available,
        }
    }

    const fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    fn dir(&self, id: NodeId) -> io::Result<&DirNode> {
        match self.nodes.get(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => error(io::ErrorKind::NotADirectory),
            None => error(io::ErrorKind::NotFound),
        }
    }

    fn dir_mut(&mut self, id: NodeId) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => error(io::ErrorKind::NotADirectory),
            None => error(io::ErrorKind::NotFound),
        }
    }

    fn file(&self, id: NodeId) -> io::Result<&FileNode> {
        match self.nodes.get(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => error(io::ErrorKind::IsADirectory),
            None => error(io::ErrorKind::NotFound),
        }
    }

    fn file_mut(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => error(io::ErrorKind::IsADirectory),
            None => error(io::ErrorKind::NotFound),
        }
    }

    fn add_node(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.insert(id, node);
        id
    }

    /// The node at a path.
    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut found = Self::ROOT;
        for name in names(path)? {
            let next = self.dir(found)?.live.get(&name);
            found = *next.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(found)
    }

    /// The directory that holds, or would hold, the path, and the name in it.
    fn place(&self, path: &Path) -> io::Result<(NodeId, OsString)> {
        let mut names = names(path)?;
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut found = Self::ROOT;
        for part in names {
            found = *self
                .dir(found)?
                .live
                .get(&part)
                .ok_or(io::ErrorKind::NotFound)?;
        }
        self.dir(found)?;
        Ok((found, name))
    }

    /// Points a name at a node, or at nothing.
    fn link(&mut self, dir: NodeId, name: OsString, target: Option<NodeId>, sequence: u64) {
        let dir = self.dir_mut(dir).expect("the caller found it");
        let replaced = match target {
            Some(target) => dir.live.insert(name.clone(), target),
            None => dir.live.remove(&name),
        };
        dir.pending.push(DirOperation {
            sequence,
            name,
            target,
        });
        for (id, is_linked) in [(replaced, false), (target, true)] {
            let Some(id) = id else { continue };
            self.change_footprint(id, |file| file.is_linked = is_linked);
        }
    }

    /// Changes a file and what it takes of the capacity; nothing for a directory.
    fn change_footprint(&mut self, id: NodeId, change: impl FnOnce(&mut FileNode)) {
        let Ok(file) = self.file_mut(id) else { return };
        let before = file.footprint();
        change(file);
        let after = file.footprint();
        self.used_bytes = self.used_bytes - before + after;
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<NodeId> {
        let (dir, name) = self.place(path)?;
        match self.dir(dir)?.live.get(&name) {
            Some(_) if mode == OpenMode::CreateNew => error(io::ErrorKind::AlreadyExists),
            Some(id) => self.file(*id).map(|_| *id),
            None if matches!(mode, OpenMode::Read | OpenMode::Write) => {
                error(io::ErrorKind::NotFound)
            }
            None => {
                let id = self.add_node(Node::File(FileNode::default()));
                let sequence = self.next_sequence();
                self.link(dir, name, Some(id), sequence);
                Ok(id)
            }
        }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = Self::ROOT;
        for name in names(path)? {
            at = match self.dir(at)?.live.get(&name) {
                Some(id) => *id,
                None => {
                    let id = self.add_node(Node::Dir(DirNode::default()));
                    let sequence = self.next_sequence();
                    self.link(at, name, Some(id), sequence);
                    id
                }
            };
        }
        match self.dir(at) {
            Ok(_) => Ok(()),
            Err(_) => error(io::ErrorKind::AlreadyExists),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from_name) = self.place(from)?;
        let source = *self
            .dir(from_dir)?
            .live
            .get(&from_name)
            .ok_or(io::ErrorKind::NotFound)?;
        let (to_dir, to_name) = self.place(to)?;
        let target = self.dir(to_dir)?.live.get(&to_name).copied();
        if target == Some(source) {
            return Ok(());
        }
        if let Some(target) = target {
            match (self.dir(source).is_ok(), self.dir(target)) {
                (false, Ok(_)) => return error(io::ErrorKind::IsADirectory),
                (true, Err(_)) => return error(io::ErrorKind::NotADirectory),
                (true, Ok(dir)) if !dir.live.is_empty() => {
                    return error(io::ErrorKind::DirectoryNotEmpty);
                }
                _ => {}
            }
        }
        let sequence = self.next_sequence();
        self.link(from_dir, from_name, None, sequence);
        self.link(to_dir, to_name, Some(source), sequence);
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        self.file(id)?;
        let (dir, name) = self.place(path)?;
        let sequence = self.next_sequence();
        self.link(dir, name, None, sequence);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        if !self.dir(id)?.live.is_empty() {
            return error(io::ErrorKind::DirectoryNotEmpty);
        }
        let (dir, name) = self.place(path)?;
        let sequence = self.next_sequence();
        self.link(dir, name, None, sequence);
        Ok(())
    }

    pub(super) fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.dir(self.find(path)?)?;
        let entry = |(name, id): (&OsString, &NodeId)| DirEntry {
            name: name.into(),
            is_dir: self.dir(*id).is_ok(),
        };
        Ok(dir.live.iter().map(entry).collect())
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        match self.nodes.get(&self.find(path)?) {
            Some(Node::File(file)) => Ok(Metadata {
                is_dir: false,
                len: file.live.len() as u64,
            }),
            _ => Ok(Metadata {
                is_dir: true,
                len: 0,
            }),
        }
    }

    pub(super) fn bytes(&self, id: NodeId) -> io::Result<&[u8]> {
        Ok(&self.file(id)?.live)
    }

    /// Fails before anything changes when the file would outgrow the capacity.
    fn check_space(&self, id: NodeId, length: u64) -> io::Result<()> {
        let file = self.file(id)?;
        let growth = length.saturating_sub(file.footprint());
        if file.is_linked && growth > self.capacity_bytes.saturating_sub(self.used_bytes) {
            return error(io::ErrorKind::StorageFull);
        }
        Ok(())
    }

    pub(super) fn write(&mut self, id: NodeId, position: u64, data: Vec<u8>) -> io::Result<()> {
        self.check_space(id, position + data.len() as u64)?;
        self.change_file(
            id,
            FileChange::Write {
                position,
                bytes: data,
            },
        );
        Ok(())
    }

    pub(super) fn set_len(&mut self, id: NodeId, length: u64) -> io::Result<()> {
        self.check_space(id, length)?;
        self.change_file(id, FileChange::SetLen(length));
        self.change_footprint(id, |file| file.allocated = 0);
        Ok(())
    }

    fn change_file(&mut self, id: NodeId, change: FileChange) {
        let sequence = self.next_sequence();
        self.change_footprint(id, |file| {
            change.apply(&mut file.live);
            file.pending.push(FileOperation {
                sequence,
                is_given_up: false,
                change,
            });
        });
    }

    pub(super) fn allocate(&mut self, id: NodeId, length: u64) -> io::Result<()> {
        self.check_space(id, length)?;
        self.change_footprint(id, |file| file.allocated = file.allocated.max(length));
        Ok(())
    }

    /// Makes what was done to the file before `sequence` durable.
    pub(super) fn sync_data(&mut self, id: NodeId, sequence: u64) -> io::Result<()> {
        let file = self.file_mut(id)?;
        let mut kept: Vec<FileOperation> = Vec::new();
        for operation in std::mem::take(&mut file.pending) {
            if operation.sequence >= sequence || operation.is_given_up {
                kept.push(operation);
                continue;
            }
            operation.change.apply(&mut file.durable);
            // The disk has something newer there now.
            kept = kept
                .into_iter()
                .flat_map(|earlier| earlier.without(&operation.change))
                .collect();
        }
        file.pending = kept;
        Ok(())
    }

    /// What a failed flush does: the file's unflushed bytes look clean, and stay at the mercy of a
    /// crash whatever is synced later. Its length is metadata, which the next sync writes.
    pub(super) fn give_up_unsynced(&mut self, id: NodeId) -> io::Result<()> {
        for operation in &mut self.file_mut(id)?.pending {
            operation.is_given_up = matches!(operation.change, FileChange::Write { .. });
        }
        Ok(())
    }

    /// Makes what was done to the directory's entries before `sequence` durable.
    pub(super) fn sync_dir(&mut self, id: NodeId, sequence: u64) -> io::Result<()> {
        let dir = self.dir_mut(id)?;
        let (done, pending) = std::mem::take(&mut dir.pending)
            .into_iter()
            .partition::<Vec<_>, _>(|operation| operation.sequence < sequence);
        dir.pending = pending;
        for operation in &done {
            operation.apply(&mut dir.durable);
        }
        self.half_synced
            .extend(done.iter().map(|operation| operation.sequence));
        Ok(())
    }

    /// What is there after the power came back: all of it durable.
    pub(super) fn crash(&self, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut after = Self::new(self.capacity_bytes);
        let renames = self.surviving_dir_operations(&mut dice);
        self.copy_survivors(Self::ROOT, &mut after, Self::ROOT, &renames, &mut dice);
        after
    }

    /// Sequence numbers of the pending directory operations that the crash lets through.
    fn surviving_dir_operations(&self, dice: &mut Dice) -> BTreeSet<u64> {
        let mut pending = BTreeSet::new();
        for node in self.nodes.values() {
            if let Node::Dir(dir) = node {
                pending.extend(dir.pending.iter().map(|operation| operation.sequence));
            }
        }
        let style = Survival::throw(dice);
        let cut = dice.below(pending.len() as u64 + 1);
        let mut position = 0;
        pending.retain(|sequence| {
            position += 1;
            let survives = style.keeps(position - 1, cut, dice);
            survives || self.half_synced.contains(sequence)
        });
        pending
    }

    fn copy_survivors(
        &self,
        from: NodeId,
        after: &mut Self,
        to: NodeId,
        renames: &BTreeSet<u64>,
        dice: &mut Dice,
    ) {
        let Ok(dir) = self.dir(from) else { return };
        let mut entries = dir.durable.clone();
        for operation in dir
            .pending
            .iter()
            .filter(|it| renames.contains(&it.sequence))
        {
            operation.apply(&mut entries);
        }
        for (name, id) in entries {
            let node = match self.nodes.get(&id) {
                Some(Node::File(file)) => {
                    let bytes = file.survivor(dice);
                    after.used_bytes += bytes.len() as u64;
                    Node::File(FileNode::durable(bytes))
                }
                _ => Node::Dir(DirNode::default()),
            };
            let copy = after.adopt(to, name, node);
            self.copy_survivors(id, after, copy, renames, dice);
        }
    }

    /// Puts a directory there, with those above it, as if it had always been: durable.
    pub(super) fn adopt_dir(&mut self, path: &Path) -> io::Result<NodeId> {
        let mut at = Self::ROOT;
        for name in names(path)? {
            at = match self.dir(at)?.live.get(&name) {
                Some(id) => *id,
                None => self.adopt(at, name, Node::Dir(DirNode::default())),
            };
        }
        Ok(at)
    }

    /// Puts a file there as if it had always been: durable, with its directories.
    pub(super) fn adopt_file(&mut self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let parent = self.adopt_dir(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        self.used_bytes += bytes.len() as u64;
        self.adopt(
            parent,
            name.to_owned(),
            Node::File(FileNode::durable(bytes)),
        );
        Ok(())
    }

    fn adopt(&mut self, parent: NodeId, name: OsString, node: Node) -> NodeId {
        let id = self.add_node(node);
        let parent = self.dir_mut(parent).expect("the caller found it");
        parent.live.insert(name.clone(), id);
        parent.durable.insert(name, id);
        id
    }
}

impl DirOperation {
    fn apply(&self, entries: &mut BTreeMap<OsString, NodeId>) {
        match self.target {
            Some(target) => entries.insert(self.name.clone(), target),
            None => entries.remove(&self.name),
        };
    }
}

impl FileNode {
    fn durable(bytes: Vec<u8>) -> Self {
        Self {
            live: bytes.clone(),
            durable: bytes,
            is_linked: true,
            ..Self::default()
        }
    }

    /// The durable bytes with some of what was pending.
    fn survivor(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let style = Survival::throw(dice);
        let cut = dice.below(self.pending.len() as u64 + 1);
        for (position, operation) in (0..).zip(&self.pending) {
            if style.keeps(position, cut, dice) {
                operation.change.apply(&mut bytes);
            } else if style == Survival::Any && dice.coin() {
                operation.change.tear(&mut bytes, dice);
            }
        }
        bytes
    }
}

/// How a crash chooses among pending operations. Pure coin throws would nearly never show the
/// plain cases: everything lost, everything there, all up to an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Survival {
    Nothing,
    Everything,
    Prefix,
    Any,
}

impl Survival {
    const fn throw(dice: &mut Dice) -> Self {
        match dice.below(6) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Prefix,
            _ => Self::Any,
        }
    }

    const fn keeps(self, position: u64, cut: u64, dice: &mut Dice) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Prefix => position < cut,
            Self::Any => dice.coin(),
        }
    }
}

/// The names along a path from the root; a path without a root starts there too.
fn names(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return error(io::ErrorKind::InvalidInput);
            }
        }
    }
    Ok(names)
}

/**
 * Tells when files may have changed, without looking at them: the kernel's word (inotify, through `fs.watch`) for every
 * directory on the way to them, links followed, and for the files themselves.
 *
 * It knows nothing of what changed; who is told looks (`file-watch.ts`). Where the kernel's word cannot be relied on, it says so:
 * on file systems that other machines write to, in directories that may be entered but not read, and outside Linux.
 */
import { type FSWatcher, watch } from 'node:fs';
import { lstat, readlink, stat, statfs } from 'node:fs/promises';
import { platform } from 'node:os';
import { basename, join, parse, sep } from 'node:path';

/**
 * How far the kernel's word goes: `covered` = every change from before this answer on is told; `renewed` = the same, but what
 * happened before the answer may not have been; `uncertain` = changes may go untold, for good.
 */
export type Coverage = 'covered' | 'renewed' | 'uncertain';

/** statfs(2): file systems that only this machine writes to. */
const LOCAL_FILE_SYSTEMS = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // XFS
  0x9123683e, // Btrfs
  0xca451a4e, // bcachefs
  0x2fc12fc1, // ZFS
  0xf2f52010, // F2FS
  0x01021994, // tmpfs
  0x858458f6, // ramfs
  0x794c7630, // overlayfs
]);

/** The kernel's own limit for the links of a path. */
const MAX_LINKS = 40;

/** What is to be watched: a directory with the names in it that matter, or (`names` = null) a file. */
interface Place {
  readonly path: string;
  readonly names: Set<string> | null;
}

interface Watched {
  readonly watcher: FSWatcher;
  /** Of the place as it was last seen. */
  names: Set<string> | null;
}

/** Owns one watch of the kernel for each directory and file, from the first `cover` to `close`; they keep no process alive. */
export class FileEvents {
  readonly #files: readonly string[];
  readonly #happened: () => void;
  /** By path and inode, so that what was put in the place of something else is watched anew. */
  #watched = new Map<string, Watched>();
  #isUncertain = platform() !== 'linux';

  /** `happened` hears that one of the absolute paths `files` may lead to something else now; it must not throw. */
  constructor(files: readonly string[], happened: () => void) {
    this.#files = files;
    this.#happened = happened;
  }

  /** Watches the way to the files as it is now. Never rejects. */
  async cover(): Promise<Coverage> {
    if (this.#isUncertain) {
      return 'uncertain';
    }
    try {
      const places = await this.#places();
      return this.#isUncertain ? 'uncertain' : this.#watch(places);
    } catch (error) {
      if (isGone(error)) {
        return 'renewed';
      }
      this.#giveUp();
      return 'uncertain';
    }
  }

  /** Ends it; idempotent. */
  close(): void {
    this.#giveUp();
  }

  #giveUp(): void {
    this.#isUncertain = true;
    for (const { watcher } of this.#watched.values()) {
      watcher.close();
    }
    this.#watched.clear();
  }

  async #places(): Promise<Map<string, Place>> {
    const places = new Map<string, Place>();
    for (const file of this.#files) {
      for await (const { path, name } of wayTo(file)) {
        const key = await identify(path);
        const place = places.get(key) ?? { path, names: name === null ? null : new Set<string>() };
        places.set(key, place);
        if (name !== null) {
          place.names?.add(name);
        }
      }
    }
    return places;
  }

  /** From the root on, so that whoever exchanges a directory meanwhile is told by the one above it. */
  #watch(places: Map<string, Place>): Coverage {
    for (const [key, { watcher }] of this.#watched) {
      if (!places.has(key)) {
        watcher.close();
        this.#watched.delete(key);
      }
    }
    let coverage: Coverage = 'covered';
    for (const [key, { path, names }] of places) {
      const known = this.#watched.get(key);
      if (known === undefined) {
        this.#watched.set(key, this.#begin(key, path, names));
        coverage = 'renewed';
      } else {
        known.names = names;
      }
    }
    return coverage;
  }

  #begin(key: string, path: string, names: Set<string> | null): Watched {
    const own = basename(path);
    const watcher = watch(path, { persistent: false }, (event, name) => {
      if (event === 'rename' && name === own) {
        // Removed or moved, perhaps: the kernel forgets the watch with the inode, and gives its number to what comes next.
        this.#forget(key, watcher);
      }
      if (watched.names === null || name === null || name === own || watched.names.has(name)) {
        this.#happened();
      }
    });
    watcher.on('error', () => {
      this.#giveUp();
      this.#happened();
    });
    const watched: Watched = { watcher, names };
    return watched;
  }

  #forget(key: string, watcher: FSWatcher): void {
    watcher.close();
    if (this.#watched.get(key)?.watcher === watcher) {
      this.#watched.delete(key);
    }
  }
}

/** Whether something on the way went away between two looks at it. */
function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Device and inode of what may be watched. Rejects where the kernel's word is not enough. */
async function identify(path: string): Promise<string> {
  const { type } = await statfs(path);
  if (!LOCAL_FILE_SYSTEMS.has(type)) {
    throw new Error(`${path} is on a file system of type 0x${type.toString(16)}`);
  }
  const { dev, ino } = await stat(path, { bigint: true });
  return `${dev}:${ino} ${path}`;
}

/**
 * Every directory that a file is looked up in, with the name that is looked up there, through all links; then the file itself
 * (name = null). Ends where the way does.
 */
async function* wayTo(file: string): AsyncGenerator<{ path: string; name: string | null }> {
  let directory = parse(file).root;
  const pending = names(file);
  let links = 0;
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    yield { path: directory, name };
    const path = join(directory, name);
    const target = await follow(path);
    if (target === null || links > MAX_LINKS) {
      return;
    }
    if (target === path) {
      directory = path;
    } else {
      links += 1;
      directory = parse(target).root || directory;
      pending.unshift(...names(target));
    }
  }
  yield { path: directory, name: null };
}

/** What a link says, the path itself if it is none, null if there is nothing. */
async function follow(path: string): Promise<string | null> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : path;
  } catch {
    return null;
  }
}

/** Of a path below its root; `..` stays, for it means what is above where a link led. */
function names(path: string): string[] {
  const { root } = parse(path);
  return path
    .slice(root.length)
    .split(sep)
    .filter((name) => name !== '' && name !== '.');
}

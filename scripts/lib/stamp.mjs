/** Skipping what is up to date: a hash of the inputs, kept in the cache folder after the work succeeded. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { CACHE, ROOT } from './paths.mjs';

/**
 * All files below the given paths (files or folders, relative to the root), sorted; absent paths are skipped.
 * @param {readonly string[]} paths @param {(path: string) => boolean} [wanted] by path relative to the root; folders are asked too
 * @returns {string[]} paths relative to the root
 */
export function filesBelow(paths, wanted = () => true) {
  /** @type {string[]} */
  const files = [];
  /** @param {string} path */
  function visit(path) {
    const entry = statSync(path, { throwIfNoEntry: false });
    const name = relative(ROOT, path);
    if (entry === undefined || !wanted(name)) {
      return;
    }
    if (entry.isDirectory()) {
      for (const child of readdirSync(path)) {
        visit(join(path, child));
      }
    } else {
      files.push(name);
    }
  }
  for (const path of paths) {
    visit(join(ROOT, path));
  }
  return files.sort();
}

/**
 * A hash of the files' names and contents, and of further texts that decide the result.
 * @param {readonly string[]} files relative to the root @param {readonly string[]} texts
 */
export function hashOf(files, texts = []) {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = readFileSync(join(ROOT, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  for (const text of texts) {
    hash.update(`\0${text}`);
  }
  return hash.digest('hex');
}

/** Whether the stamp `name` has this hash. @param {string} name @param {string} hash */
export function isStamped(name, hash) {
  try {
    return readFileSync(join(CACHE, `${name}.stamp`), 'utf8') === hash;
  } catch {
    return false;
  }
}

/** Writes the stamp `name`. @param {string} name @param {string} hash */
export function stamp(name, hash) {
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(join(CACHE, `${name}.stamp`), hash);
}

/** Removes the stamp `name`: its work begins, and counts as undone until it is stamped again. @param {string} name */
export function unstamp(name) {
  rmSync(join(CACHE, `${name}.stamp`), { force: true });
}

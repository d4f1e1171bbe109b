/** Whether a binary is what is published for a target: by its format, CPU, kind, and everything that it asks of a system. */
import { newerThan, readElfNeeds } from './elf.mjs';
import { readMachO } from './macho.mjs';
import { GLIBC_FLOOR } from './platforms.mjs';

/** @typedef {import('./platforms.mjs').Target} Target */

/** Parts of glibc itself, by the names that they have had since 2.0. */
const GLIBC_LIBRARIES =
  /^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux-x86-64\.so\.2|ld-linux-aarch64\.so\.1)$/;
/** musl is one library, whose own name any of these links to. */
const MUSL_LIBRARIES = /^(libc\.so|libc\.musl-(x86_64|aarch64)\.so\.1)$/;
/** What glibc has and musl has not: fortified functions, those of C23, and its own. */
const GLIBC_SYMBOLS =
  /^(__\w+_chk|__isoc23_\w+|gnu_get_libc_\w+|__register_atfork|__libc_single_threaded|_dl_find_object|mallinfo2?|backtrace\w*)$/;
/** What every macOS brings. */
const MACOS_LIBRARIES = /^\/usr\/lib\/|^\/System\/Library\/Frameworks\//;

/** What keeps a binary from being published for a target. @param {Target} target @param {Buffer} file @returns {string[]} */
export function bindingProblems(target, file) {
  try {
    return target.platform === 'darwin' ? macosProblems(target, file) : linuxProblems(target, file);
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

/** @param {Target} target @param {Buffer} file */
function linuxProblems(target, file) {
  const needs = readElfNeeds(file);
  return [
    ...kindProblems(target, needs),
    ...(target.libc === 'musl' ? muslProblems(needs) : glibcProblems(needs)),
  ];
}

/** @param {Target} target @param {{ architecture: string, isLibrary: boolean }} found */
function kindProblems(target, { architecture, isLibrary }) {
  return [
    ...(architecture === target.architecture ? [] : [`made for ${architecture}`]),
    ...(isLibrary ? [] : ['no shared library']),
  ];
}

/** @param {import('./elf.mjs').ElfNeeds} needs */
function glibcProblems({ libraries, versions }) {
  return [
    ...(libraries.includes('libc.so.6') ? [] : ['linked with musl, or with no libc']),
    ...strange(libraries, GLIBC_LIBRARIES),
    ...newerThan(versions, GLIBC_FLOOR).map(
      ({ library, version }) => `needs ${version} of ${library}, newer than ${GLIBC_FLOOR}`,
    ),
  ];
}

/** @param {import('./elf.mjs').ElfNeeds} needs */
function muslProblems({ libraries, versions, symbols }) {
  const isGlibc =
    libraries.some((library) => GLIBC_LIBRARIES.test(library)) ||
    versions.some(({ version }) => version.startsWith('GLIBC_'));
  return [
    ...(isGlibc ? ['linked with glibc'] : []),
    ...(libraries.some((library) => MUSL_LIBRARIES.test(library)) ? [] : ['linked with no musl']),
    ...strange(
      libraries.filter((library) => !GLIBC_LIBRARIES.test(library)),
      MUSL_LIBRARIES,
    ),
    ...symbols
      .filter((symbol) => GLIBC_SYMBOLS.test(symbol))
      .map((symbol) => `needs ${symbol}, which musl has not`),
  ];
}

/** @param {Target} target @param {Buffer} file */
function macosProblems(target, file) {
  const found = readMachO(file);
  return [
    ...kindProblems(target, found),
    ...strange(found.libraries, MACOS_LIBRARIES),
    // Such a CPU runs nothing else.
    ...(found.isSigned || target.architecture !== 'arm64' ? [] : ['not signed']),
  ];
}

/** @param {readonly string[]} libraries @param {RegExp} known */
function strange(libraries, known) {
  return libraries
    .filter((library) => !known.test(library))
    .map((library) => `needs ${library}, which not every system has`);
}

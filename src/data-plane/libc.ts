/** Which C library of Linux this process runs with: what decides which of two binaries can be loaded into it. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** As the packages' names end. */
export type LibcFamily = 'gnu' | 'musl';

/** What tells the two apart; each is asked only when the one before has no answer. */
export interface LibcSigns {
  /** The memory map of this process, with the path of every library in it; empty when it cannot be read. */
  openLibraries(): string;
  /** By the diagnostic report; null = it names none, or there is no report. */
  reportedGlibc(): string | null;
  /** Names of files in the system's library folders. */
  systemLibraries(): readonly string[];
}

/** musl is dynamic linker and C library in one; `libc.so` is what its other names link to, and a linker's script in glibc. */
const MUSL = /\/\S*\/(ld-musl-[^\s/]+|libc\.musl-[^\s/]+|libc\.so)$/m;
/** Since 2.34, and before. */
const GLIBC = /\/(libc\.so\.6|libc-2\.[\d.]+\.so)$/m;

const LIBRARY_FOLDERS = ['/lib', '/lib64', '/usr/lib', '/usr/lib64'];

const THIS_PROCESS: LibcSigns = { openLibraries, reportedGlibc, systemLibraries };

/**
 * Which one it is. By the library that is mapped, which is the truth also where the other one is installed, too, or played (gcompat under a
 * Node.js made for glibc), and takes a fifth of the time of a report. Where none is seen to be, or both: by the report, then by the files.
 */
export function libcFamily(signs: LibcSigns = THIS_PROCESS): LibcFamily {
  const mapped = familyIn(signs.openLibraries());
  if (mapped !== null) {
    return mapped;
  }
  if (signs.reportedGlibc() !== null) {
    return 'gnu';
  }
  const files = signs.systemLibraries().map((name) => `/lib/${name}`);
  // With both: the report of a Node.js made for glibc would have named it.
  return familyIn(files.join('\n')) ?? 'musl';
}

/** null = none is named there, or both. */
function familyIn(paths: string): LibcFamily | null {
  const isMusl = MUSL.test(paths);
  if (isMusl === GLIBC.test(paths)) {
    return null;
  }
  return isMusl ? 'musl' : 'gnu';
}

/** The C library and its version, as far as it can be known. */
export function libcOfThisHost(): string {
  if (process.platform !== 'linux') {
    return 'of the system';
  }
  return libcFamily() === 'gnu'
    ? `glibc ${reportedGlibc() ?? 'of unknown version'}`
    : `musl${muslVersion()}`;
}

/** It would look up the names of all peers otherwise. What the program has set stays as it was. */
function reportWithoutNetwork(): object {
  const { report } = process;
  const wanted: unknown = Reflect.get(report, 'excludeNetwork');
  Reflect.set(report, 'excludeNetwork', true);
  try {
    return report.getReport();
  } finally {
    Reflect.set(report, 'excludeNetwork', wanted);
  }
}

function reportedGlibc(): string | null {
  try {
    const { header } = reportWithoutNetwork() as { header?: { glibcVersionRuntime?: string } };
    return header?.glibcVersionRuntime ?? null;
  } catch {
    return null;
  }
}

/** With a blank in front; musl's dynamic linker says it when it is run by itself. */
function muslVersion(): string {
  const [linker = 'ldd'] = MUSL.exec(openLibraries()) ?? [];
  const { stderr } = spawnSync(linker, { encoding: 'utf8' });
  const [, version] = /^Version (\S+)/m.exec(stderr ?? '') ?? [];
  return version === undefined ? '' : ` ${version}`;
}

function openLibraries(): string {
  try {
    return readFileSync('/proc/self/maps', 'latin1');
  } catch {
    return '';
  }
}

/** Also of the folders for one CPU, such as /lib/x86_64-linux-gnu. */
function systemLibraries(): string[] {
  const folders = LIBRARY_FOLDERS.filter((folder) => existsSync(folder));
  return folders.flatMap((folder) =>
    namesIn(folder).flatMap((name) =>
      name.includes('-linux-') ? namesIn(`${folder}/${name}`) : [name],
    ),
  );
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * What a shared library for Linux asks of the system that loads it: libraries, and versions of their symbols.
 *
 * Reads the program headers and the dynamic section (System V gABI, chapter 5; symbol versions: Linux Standard Base, chapter 10), which
 * a stripped file keeps. 64 bit, little-endian: all that pgtls is built for.
 */

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_VERNEED = 0x6ffffffe;
const DT_VERNEEDNUM = 0x6fffffff;

/** By e_machine, as Node.js names them. @type {Readonly<Record<number, string>>} */
const ARCHITECTURES = { 62: 'x64', 183: 'arm64' };

/** One version of one library's symbols, such as `GLIBC_2.17` of `libc.so.6`. @typedef {{ library: string, version: string }} VersionNeed */
/** @typedef {{ type: number, offset: number, address: number, size: number }} Segment */

/**
 * Reads the demands of a library; throws when it isn't one.
 * @param {Buffer} file @returns {{ architecture: string, libraries: string[], versions: VersionNeed[] }}
 */
export function readElfNeeds(file) {
  const isElf = file.length >= 64 && file.readUInt32BE(0) === 0x7f454c46;
  if (!isElf || file[4] !== 2 || file[5] !== 1) {
    throw new Error('no 64-bit little-endian ELF file');
  }
  const segments = segmentsOf(file);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) {
    throw new Error('no shared library: it has no dynamic section');
  }
  const entries = dynamicEntries(file.subarray(dynamic.offset, dynamic.offset + dynamic.size));
  /** @param {number} tag */
  const last = (tag) => entries.findLast((entry) => entry.tag === tag)?.value;
  const names = offsetOf(last(DT_STRTAB) ?? 0, segments);
  /** @param {number} at */
  const text = (at) => file.toString('latin1', names + at, file.indexOf(0, names + at));
  const needs = last(DT_VERNEED);
  return {
    architecture: ARCHITECTURES[file.readUInt16LE(18)] ?? 'unknown',
    libraries: entries.filter(({ tag }) => tag === DT_NEEDED).map(({ value }) => text(value)),
    versions:
      needs === undefined
        ? []
        : versionNeeds(file, offsetOf(needs, segments), last(DT_VERNEEDNUM) ?? 0, text),
  };
}

/** @param {Buffer} file @returns {Segment[]} */
function segmentsOf(file) {
  const at = Number(file.readBigUInt64LE(32));
  const size = file.readUInt16LE(54);
  return Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const header = file.subarray(at + index * size);
    return {
      type: header.readUInt32LE(0),
      offset: Number(header.readBigUInt64LE(8)),
      address: Number(header.readBigUInt64LE(16)),
      size: Number(header.readBigUInt64LE(32)),
    };
  });
}

/** @param {Buffer} section @returns {{ tag: number, value: number }[]} */
function dynamicEntries(section) {
  return Array.from({ length: Math.floor(section.length / 16) }, (_, index) => ({
    tag: Number(section.readBigInt64LE(index * 16)),
    value: Number(section.readBigUInt64LE(index * 16 + 8)),
  }));
}

/** Where in the file an address lies. @param {number} address @param {readonly Segment[]} segments */
function offsetOf(address, segments) {
  const segment = segments.find(
    ({ type, address: start, size }) =>
      type === PT_LOAD && address >= start && address < start + size,
  );
  if (segment === undefined) {
    throw new Error(`damaged: address ${address} is not in the file`);
  }
  return segment.offset + address - segment.address;
}

/**
 * A chain of Elf64_Verneed, one a library, each with a chain of Elf64_Vernaux, one a version.
 * @param {Buffer} file @param {number} start @param {number} count @param {(at: number) => string} text @returns {VersionNeed[]}
 */
function versionNeeds(file, start, count, text) {
  const needs = [];
  for (let library = start, left = count; left > 0; left -= 1) {
    const name = text(file.readUInt32LE(library + 4));
    let version = library + file.readUInt32LE(library + 8);
    for (let rest = file.readUInt16LE(library + 2); rest > 0; rest -= 1) {
      needs.push({ library: name, version: text(file.readUInt32LE(version + 8)) });
      version += file.readUInt32LE(version + 12);
    }
    library += file.readUInt32LE(library + 12);
  }
  return needs;
}

/**
 * The versions of glibc's symbols that are newer than `floor`, such as `2.28`. Also those that are no number: `GLIBC_ABI_DT_RELR` came
 * with 2.36, and `GLIBC_PRIVATE` is nobody's to use.
 * @param {readonly VersionNeed[]} versions @param {string} floor
 */
export function newerThan(versions, floor) {
  return versions.filter(({ version }) => {
    const [, number] = /^GLIBC_(.+)$/.exec(version) ?? [];
    return number !== undefined && !isAtMost(number, floor);
  });
}

/** @param {string} version @param {string} floor */
function isAtMost(version, floor) {
  if (!/^\d+(\.\d+)*$/.test(version)) {
    return false;
  }
  const [parts = [], limit = []] = [version, floor].map((text) => text.split('.').map(Number));
  const at = parts.findIndex((part, index) => part !== (limit[index] ?? 0));
  return at === -1 || (parts[at] ?? 0) < (limit[at] ?? 0);
}

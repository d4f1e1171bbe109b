/**
 * What a shared library for Linux asks of the system that loads it: libraries, symbols, and versions of these.
 *
 * Reads the program headers and the dynamic section (System V gABI, chapter 5; symbol versions: Linux Standard Base, chapter 10), and the table of
 * dynamic symbols (chapter 4), which a stripped file keeps. 64 bit, little-endian: all that pgtls is built for.
 */

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const ET_DYN = 3;
const SHT_DYNSYM = 11;
const STB_WEAK = 2;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_VERNEED = 0x6ffffffe;
const DT_VERNEEDNUM = 0x6fffffff;

/** By e_machine, as Node.js names them. @type {Readonly<Record<number, string>>} */
const ARCHITECTURES = { 62: 'x64', 183: 'arm64' };

/** One version of one library's symbols, such as `GLIBC_2.17` of `libc.so.6`. @typedef {{ library: string, version: string }} VersionNeed */
/** @typedef {{ type: number, offset: number, address: number, size: number }} Segment */

/**
 * `isLibrary` false = a program; `symbols` are those that somebody else has to have.
 * @typedef {{ architecture: string, isLibrary: boolean, libraries: string[], versions: VersionNeed[], symbols: string[] }} ElfNeeds
 */

/** Reads the demands of a library; throws when it isn't one, and no program either. @param {Buffer} file @returns {ElfNeeds} */
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
    architecture: ARCHITECTURES[file.readUInt16LE(18)] ?? 'another CPU',
    isLibrary: file.readUInt16LE(16) === ET_DYN && !segments.some(({ type }) => type === PT_INTERP),
    libraries: entries.filter(({ tag }) => tag === DT_NEEDED).map(({ value }) => text(value)),
    versions:
      needs === undefined
        ? []
        : versionNeeds(file, offsetOf(needs, segments), last(DT_VERNEEDNUM) ?? 0, text),
    symbols: undefinedSymbols(file, text),
  };
}

/**
 * Without weak ones, which may be missing; empty when the file has no section headers.
 * @param {Buffer} file @param {(at: number) => string} text @returns {string[]}
 */
function undefinedSymbols(file, text) {
  const at = Number(file.readBigUInt64LE(40));
  const size = file.readUInt16LE(58);
  const headers = Array.from({ length: file.readUInt16LE(60) }, (_, index) =>
    file.subarray(at + index * size),
  );
  const table = headers.find((header) => header.readUInt32LE(4) === SHT_DYNSYM);
  if (table === undefined) {
    return [];
  }
  const start = Number(table.readBigUInt64LE(24));
  return Array.from({ length: Number(table.readBigUInt64LE(32)) / 24 }, (_, index) =>
    file.subarray(start + index * 24),
  )
    .filter((symbol) => symbol.readUInt16LE(6) === 0 && (symbol[4] ?? 0) >> 4 !== STB_WEAK)
    .map((symbol) => text(symbol.readUInt32LE(0)))
    .filter((name) => name !== '');
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

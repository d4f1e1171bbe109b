/**
 * What a shared library for macOS is made for and asks of the system that loads it: its CPU, the libraries, a signature.
 *
 * Reads the header and the load commands (Apple's <mach-o/loader.h>) of a file for one CPU, 64 bit, little-endian.
 */

const MAGIC = 0xfeedfacf;
const HEADER_BYTES = 32;
const MH_DYLIB = 6;
const MH_BUNDLE = 8;
const LC_CODE_SIGNATURE = 0x1d;
/** Plain, weak, and re-exported. */
const LC_LOAD_LIBRARY = [0xc, 0x80000018, 0x8000001f];

/** By cputype, as Node.js names them. @type {Readonly<Record<number, string>>} */
const ARCHITECTURES = { 16777223: 'x64', 16777228: 'arm64' };

/** Throws when it is no such file. @param {Buffer} file @returns {{ architecture: string, isLibrary: boolean, libraries: string[], isSigned: boolean }} */
export function readMachO(file) {
  if (file.length < HEADER_BYTES || file.readUInt32LE(0) !== MAGIC) {
    throw new Error('no 64-bit little-endian Mach-O file for one CPU');
  }
  const commands = loadCommands(file);
  return {
    architecture: ARCHITECTURES[file.readUInt32LE(4)] ?? 'another CPU',
    isLibrary: [MH_DYLIB, MH_BUNDLE].includes(file.readUInt32LE(12)),
    libraries: commands
      .filter((command) => LC_LOAD_LIBRARY.includes(command.readUInt32LE(0)))
      .map((command) => nameIn(command)),
    isSigned: commands.some((command) => command.readUInt32LE(0) === LC_CODE_SIGNATURE),
  };
}

/** @param {Buffer} file @returns {Buffer[]} */
function loadCommands(file) {
  const commands = [];
  let at = HEADER_BYTES;
  for (let left = file.readUInt32LE(16); left > 0; left -= 1) {
    const size = file.readUInt32LE(at + 4);
    if (size < 8) {
      throw new Error('damaged: a load command without a size');
    }
    commands.push(file.subarray(at, at + size));
    at += size;
  }
  return commands;
}

/** @param {Buffer} command */
function nameIn(command) {
  const name = command.toString('utf8', command.readUInt32LE(8));
  return name.slice(0, name.indexOf('\0'));
}

/** PROXY headers as a load balancer writes them; deliberately independent of src/. */

/** What the binary form begins with. */
export const V2_SIGNATURE: Buffer = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

/** The binary form: version and command, family and transport, and what follows. */
export function headerV2(versionAndCommand: number, family: number, rest: Buffer): Buffer {
  const fixed = Buffer.from([versionAndCommand, family, rest.length >> 8, rest.length & 0xff]);
  return Buffer.concat([V2_SIGNATURE, fixed, rest]);
}

/** The binary form for a client with this IPv4 address. */
export function headerV2Of(host: string, port: number): Buffer {
  const addresses = Buffer.concat([Buffer.from(host.split('.').map(Number)), Buffer.alloc(8)]);
  addresses.writeUInt16BE(port, 8);
  return headerV2(0x21, 0x11, addresses);
}

/** The text form for a client with this IPv4 address. */
export function headerV1Of(host: string, port: number): Buffer {
  return Buffer.from(`PROXY TCP4 ${host} 192.0.2.1 ${port} 5432\r\n`, 'latin1');
}

/**
 * Who may connect: the allow and deny lists of a listener, checked before a byte is read.
 */
import { BlockList, isIP } from 'node:net';
import { PgtlsError } from '../errors.ts';

/** Decides by the client's address alone; unix sockets are not asked. */
export interface AccessList {
  /** deny wins over allow; an empty allow list allows all. An unknown address is refused. */
  permits(address: string | undefined): boolean;
}

/** Builds the lists from CIDR blocks or plain addresses; throws PGTLS_CONFIG_INVALID. */
export function createAccessList(allow: readonly string[], deny: readonly string[]): AccessList {
  if (allow.length === 0 && deny.length === 0) {
    return { permits: () => true };
  }
  const allowed = allow.length === 0 ? null : blockListOf(allow);
  const denied = blockListOf(deny);
  return { permits: (address) => permits(allowed, denied, address) };
}

function permits(allowed: BlockList | null, denied: BlockList, address: string | undefined) {
  const plain = address?.split('%', 1)[0] ?? '';
  const family = familyOf(plain);
  if (family === null || denied.check(plain, family)) {
    return false;
  }
  return allowed === null || allowed.check(plain, family);
}

function blockListOf(blocks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const block of blocks) {
    addBlock(list, block);
  }
  return list;
}

function addBlock(list: BlockList, block: string): void {
  const [network = '', prefix, ...rest] = block.split('/');
  const family = familyOf(network);
  const longest = family === 'ipv4' ? 32 : 128;
  const bits = prefix === undefined ? longest : Number(prefix);
  const isValidPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && bits <= longest);
  if (family === null || rest.length > 0 || !isValidPrefix) {
    throw new PgtlsError(
      'PGTLS_CONFIG_INVALID',
      `"${block}" is neither an IP address nor a block like 10.0.0.0/8 or fd00::/8`,
    );
  }
  list.addSubnet(network, bits, family);
}

function familyOf(address: string): 'ipv4' | 'ipv6' | null {
  const version = isIP(address);
  return version === 0 ? null : version === 4 ? 'ipv4' : 'ipv6';
}

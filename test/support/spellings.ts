/** The forms in which a secret could stand in a text: as it is, in hexadecimal digits, in base64 at any offset, as a list of bytes. */

/** Fewer characters of base64 turn up by chance. */
const MIN_BASE64_CHARACTERS = 8;

/** Every spelling of `secret` that a log or a debugger's output would have. */
export function spellingsOf(secret: Buffer): string[] {
  const bytes = [...secret];
  const hex = secret.toString('hex');
  return [
    ...(isText(secret) ? [secret.toString()] : []),
    hex,
    hex.toUpperCase(),
    bytes.join(','),
    bytes.join(', '),
    ...[0, 1, 2].flatMap((offset) => base64At(secret, offset)),
  ];
}

/** The names of those secrets that stand in `text` in any spelling. */
export function secretsIn(text: string, secrets: Readonly<Record<string, Buffer>>): string[] {
  return Object.keys(secrets).filter((name) => {
    const spellings = spellingsOf(secrets[name] ?? Buffer.alloc(0));
    return spellings.some((spelling) => text.includes(spelling));
  });
}

/** The characters that do not depend on what stands before and behind, where so many bytes of a group come before. */
function base64At(secret: Buffer, offset: number): string[] {
  const padded = Buffer.concat([Buffer.alloc(offset), secret]);
  const first = Math.ceil((offset * 4) / 3);
  const last = Math.floor((padded.length * 8) / 6);
  const found = [padded.toString('base64'), padded.toString('base64url')].map((text) =>
    text.slice(first, last),
  );
  return found.filter((text) => text.length >= MIN_BASE64_CHARACTERS);
}

function isText(bytes: Buffer): boolean {
  return bytes.every((byte) => byte >= 0x20 && byte < 0x7f);
}

/** `${NAME}` in strings of the configuration file. Imports nothing; the environment is injected by the command line. */

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A string with its variables filled in, or what is wrong with it. */
export type Substitution = { ok: true; text: string } | { ok: false; message: string };

/**
 * Replaces every `${NAME}` in `text`; an unset variable is an error, an empty one is empty text. `onValue` hears of each that is
 * put in.
 */
export function substituteEnvironment(
  text: string,
  environment: Environment,
  onValue: (name: string, value: string) => void = () => {},
): Substitution {
  if (!text.includes('${')) {
    return { ok: true, text };
  }
  let problem: string | null = null;
  const replaced = text.replaceAll(/\$\{([^}]*)(\}?)/g, (whole, name: string, brace: string) => {
    if (brace === '' || !/^[A-Za-z_]\w*$/.test(name)) {
      problem ??= `"${whole}" is no environment variable; expected \${NAME}`;
      return '';
    }
    const value = environment[name];
    if (value === undefined) {
      problem ??= `environment variable ${name} is not set`;
    } else {
      onValue(name, value);
    }
    return value ?? '';
  });
  return problem === null ? { ok: true, text: replaced } : { ok: false, message: problem };
}

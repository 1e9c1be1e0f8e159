import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';

/**
 * The one reader of the environment and of the file `.env` in the working folder. The file is read here and not by a flag
 * of Node, so that `npx chokin` reads it too and a message can say that a value came from it.
 */
export const ENV_FILE = '.env';

export interface Environment {
  /** Every variable that is set; an empty value counts as unset. */
  readonly set: Readonly<Record<string, string>>;
  /** The names of those whose value is the file's. */
  readonly fromFile: ReadonlySet<string>;
}

/**
 * The environment, and the file's variables where the environment has none of that name, also no empty one. The latter are put into
 * the environment, for libraries that look there (OpenTelemetry, Postgres' client).
 * @throws {Error} if the file is there and cannot be read
 */
export function readEnvironment(environment: NodeJS.ProcessEnv = process.env, file: string = ENV_FILE): Environment {
  const inFile = readIfThere(file);
  for (const [name, value] of Object.entries(inFile)) environment[name] ??= value;
  const set = withoutEmpty(environment);
  const fromFile = Object.keys(set).filter((name) => inFile[name] === set[name]);
  return { set, fromFile: new Set(fromFile) };
}

/** An environment that is given as a whole, as tests and the demo do. */
export function givenEnvironment(environment: NodeJS.ProcessEnv): Environment {
  return { set: withoutEmpty(environment), fromFile: new Set() };
}

/** The value of a variable, to explain what went wrong with; null if there is none, or the file cannot be read. */
export function settingOf(name: string): string | null {
  try {
    return readEnvironment().set[name] ?? null;
  } catch {
    return null;
  }
}

/** Those of `names` whose value is the file's; none if the file cannot be read. */
export function fromFile(names: readonly string[]): readonly string[] {
  try {
    const environment = readEnvironment();
    return names.filter((name) => environment.fromFile.has(name));
  } catch {
    return [];
  }
}

function withoutEmpty(environment: NodeJS.ProcessEnv): Record<string, string> {
  const set: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) if (value !== undefined && value !== '') set[name] = value;
  return set;
}

function readIfThere(file: string): NodeJS.Dict<string> {
  try {
    return parseEnv(readFileSync(file, 'utf8'));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    // Python users may keep a folder of this name (a virtual environment); that is no mistake.
    if (code === 'ENOENT' || code === 'EISDIR') return {};
    throw new Error(`${file}: cannot be read (${String(code)}). Let this account read it, or remove it.`, {
      cause: error,
    });
  }
}

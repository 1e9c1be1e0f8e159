import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { parseAst } from 'vitest/node';

/**
 * The rules about the shape of `src` and `jobs`: which room may import which, and what may be done in one file alone.
 * Files are parsed, so that a comment or a message is never mistaken for code.
 */

/** From the bottom up. A file may import from its own layer and from those below, never from above. */
export const LAYERS: readonly (readonly string[])[] = [
  ['vocabulary'],
  ['crypto', 'telemetry'],
  ['db'],
  ['ledger'],
  ['payments', 'customers'],
  ['schedules'],
  ['providers'],
  ['config'],
  ['merchants', 'outgoing'],
  ['charging'],
  ['top-ups', 'checkouts'],
  ['inbox'],
  ['reconciliation'],
  ['audit', 'views'],
  ['retention'],
  ['runtime'],
  ['http', 'cli', 'commands', 'jobs'],
  ['roots'],
];

/** A file's room is its folder under src; loose files are the vocabulary that everybody speaks. These live elsewhere. */
const ROOM_OF_FILE: Readonly<Record<string, string>> = {
  'src/runtime.ts': 'runtime',
  'src/web.ts': 'roots',
  'src/main.ts': 'roots',
  'jobs/worker.ts': 'roots',
};
/** Rooms of one layer that must not import each other. */
const APART: ReadonlySet<string> = new Set([
  'http jobs',
  'jobs http',
  'http cli',
  'cli http',
  'commands cli',
  'top-ups checkouts',
  'checkouts top-ups',
]);
/** Files and rooms of src that run jobs in their own process. */
const MAY_IMPORT_JOBS: ReadonlySet<string> = new Set(['src/main.ts']);
const ONLY_IN = {
  environment: 'src/config/env-file.ts',
  clock: 'src/clock.ts',
  svix: 'src/outgoing/svix/client.ts',
} as const;
/** Every command starts through the first file, and the command line writes to the terminal only through the second. */
const SPEAKERS: ReadonlySet<string> = new Set(['src/commands/command.ts', 'src/cli/output.ts']);
const MAX_FUNCTION_LINES = 70;
const MAX_FILE_LINES = 300;
/** More values than this are passed as one object with names. */
const MAX_PARAMETERS = 3;

/** Whose each table is. `audit` may read all of them; nobody else names a table of another room in SQL. */
const TABLES: Readonly<Record<string, readonly string[]>> = {
  db: ['installation', 'installation_home', 'schema_migration'],
  ledger: [
    'wallet',
    'entry',
    'erasure',
    'wallet_alert',
    'unannounced_wallet',
    'hold',
    'closed_hold',
    'hold_capture',
    'wallet_due',
    'lot',
    'closed_lot',
    'lot_movement',
    'lot_change',
    'wallet_status_change',
    'topup_due',
    'checkout',
    'checkout_due',
  ],
  payments: [
    'payment',
    'payment_part',
    'payment_movement',
    'handled_movement',
    'payment_move',
    'payment_token',
    'bonus_rule',
    'payment_group',
  ],
  schedules: ['scheduled_entry', 'grant_schedule'],
  customers: ['customer', 'customer_link', 'erased_link', 'customer_erasure'],
  merchants: ['merchant', 'api_key', 'source', 'source_secret', 'source_account', 'source_adoption', 'key_warning'],
  outgoing: [
    'webhook_endpoint',
    'webhook_endpoint_headers',
    'webhook_older_secret',
    'webhook_message',
    'webhook_delivery',
    'webhook_attempt',
    'webhook_recovery',
    'unsent_message',
    'svix_message',
    'svix_merchant',
    'svix_endpoint',
  ],
  'top-ups': ['topup_rule', 'topup'],
  inbox: ['provider_event'],
  reconciliation: ['reconciliation', 'reconciliation_item', 'reconciliation_source'],
  audit: ['audit_finding', 'audit_mark', 'audit_rule', 'audit_run'],
  http: ['rate_limit'],
};
const ROOM_OF_TABLE: ReadonlyMap<string, string> = new Map(
  Object.entries(TABLES).flatMap(([room, tables]) => tables.map((table) => [table, room] as const)),
);
/** Statements that need two rooms' tables in one snapshot: to split them would read twice, or between two commits. */
const JOINS: ReadonlySet<string> = new Set([
  'src/ledger/open-wallets.ts customer',
  'src/reconciliation/item-store.ts provider_event',
  'src/reconciliation/old-runs.ts provider_event',
  'src/reconciliation/open-items.ts payment',
  'src/reconciliation/open-items.ts payment_part',
]);
const TABLE_IN_SQL = /\b(?:from|join|into|update|table|using)\s+(?:only\s+)?([a-z_]+)\b/gi;
/** A text counts as SQL only if it has a verb of SQL, since prose may say "from customer" too. */
const SQL = /\b(?:select|insert\s+into|update|delete\s+from|truncate)\b/i;

export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly rule: string;
  readonly what: string;
}

/** `src/a.ts:12  rule: what` */
export function renderViolation({ file, line, rule, what }: Violation): string {
  return `${file}:${line}  ${rule}: ${what}`;
}

/** Checks every TypeScript file of `src` and `jobs` under `root`. */
export async function checkArchitecture(root: string): Promise<readonly Violation[]> {
  const sources = new Map<string, string>();
  for (const folder of ['src', 'jobs']) {
    const names = await readdir(join(root, folder), { recursive: true });
    for (const name of names.filter((one) => one.endsWith('.ts')).sort()) {
      const file = `${folder}/${name.replaceAll('\\', '/')}`;
      sources.set(file, await readFile(join(root, file), 'utf8'));
    }
  }
  return checkSources(sources);
}

/** The same over texts by their path, such as `src/money.ts`. */
export function checkSources(sources: ReadonlyMap<string, string>): readonly Violation[] {
  const files = [...sources].map(([file, text]) => parse(file, text));
  const ofAll = [roomCycles, fileCycles, doubleNames, longParameterLists];
  return [...files.flatMap(checkFile), ...ofAll.flatMap((rule) => rule(files))];
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

interface Import {
  readonly specifier: string;
  readonly line: number;
}

interface ParsedFile {
  readonly file: string;
  readonly text: string;
  readonly nodes: readonly Node[];
  readonly imports: readonly Import[];
}

function parse(file: string, text: string): ParsedFile {
  const nodes: Node[] = [];
  collect(parseAst(text, { lang: 'ts' }), nodes);
  const imports = nodes.flatMap((node): Import[] => {
    const specifier = isNode(node.source) ? node.source.value : undefined;
    return typeof specifier === 'string' ? [{ specifier, line: lineAt(text, node.start) }] : [];
  });
  return { file, text, nodes, imports };
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}

function collect(value: unknown, into: Node[]): void {
  if (Array.isArray(value)) for (const one of value) collect(one, into);
  else if (isNode(value)) {
    into.push(value);
    for (const child of Object.values(value)) if (typeof child === 'object') collect(child, into);
  }
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

function checkFile(parsed: ParsedFile): Violation[] {
  const { file, text, nodes, imports } = parsed;
  const found: Violation[] = [];
  const report = (line: number, rule: string, what: string) => found.push({ file, line, rule, what });

  for (const { specifier, line } of imports) {
    const problem = importProblem(file, specifier);
    if (problem !== null) report(line, 'arrows', problem);
  }
  const speaks = mayUseConsole(parsed);
  for (const node of nodes) {
    const line = lineAt(text, node.start);
    for (const [rule, what] of nodeProblems(file, node, speaks)) report(line, rule, what);
    if (isText(node))
      for (const [index, what] of foreignTables(file, text.slice(node.start, node.end)))
        report(lineAt(text, node.start + index), 'tables', what);
    const lines = lineAt(text, node.end) - line + 1;
    if (/Function/.test(node.type) && isNode(node.body) && lines > MAX_FUNCTION_LINES) {
      report(line, 'length', `a function of ${lines} lines; ${MAX_FUNCTION_LINES} are the most`);
    }
  }
  const fileLines = text.trimEnd().split('\n').length;
  if (fileLines > MAX_FILE_LINES) report(1, 'length', `a file of ${fileLines} lines; ${MAX_FILE_LINES} are the most`);
  for (const match of text.matchAll(/\b(?:TODO|FIXME)\b/g)) report(lineAt(text, match.index), 'unfinished', match[0]);
  return found;
}

/** Where a text names a table of another room in SQL, and what is wrong with it. */
function foreignTables(file: string, sql: string): readonly (readonly [index: number, what: string])[] {
  const room = roomOf(file);
  if (room === 'audit' || !SQL.test(sql)) return [];
  return [...sql.matchAll(TABLE_IN_SQL)].flatMap((match) => {
    const owner = ROOM_OF_TABLE.get(match[1] ?? '');
    const isAllowed = owner === undefined || owner === room || JOINS.has(`${file} ${match[1]}`);
    return isAllowed ? [] : [[match.index, `"${match[0]}" outside src/${owner}`] as const];
  });
}

/** The name of the room a file belongs to; null where the table has no place for it. */
function roomOf(file: string): string | null {
  const special = ROOM_OF_FILE[file];
  if (special !== undefined) return special;
  const [top, folder, ...rest] = file.split('/');
  if (top === 'jobs') return 'jobs';
  return rest.length === 0 ? 'vocabulary' : (folder ?? null);
}

function layerOf(room: string | null): number {
  return LAYERS.findIndex((rooms) => room !== null && rooms.includes(room));
}

/** The file that a relative import names, or null for a package. */
function targetOf(file: string, specifier: string): string | null {
  return specifier.startsWith('.') ? posix.join(dirname(file), specifier) : null;
}

function importProblem(file: string, specifier: string): string | null {
  const room = roomOf(file);
  if (layerOf(room) === -1) return `no layer has a place for ${file}`;
  const target = targetOf(file, specifier);
  if (target === null) {
    const isSvix = specifier === 'svix' || specifier.startsWith('svix/');
    return isSvix && file !== ONLY_IN.svix ? `only ${ONLY_IN.svix} imports svix` : null;
  }
  if (!/^(?:src|jobs)\//.test(target)) return `${target} is outside src and jobs`;
  const mayImportJobs = MAY_IMPORT_JOBS.has(file);
  if (file.startsWith('src/') && target.startsWith('jobs/') && !mayImportJobs) {
    return `src does not import jobs (${target})`;
  }
  const targetRoom = roomOf(target);
  if (layerOf(targetRoom) === -1) return `no layer has a place for ${target}`;
  if (layerOf(targetRoom) > layerOf(room)) return `${room} may not import ${target}, which is ${targetRoom}`;
  const isApart = APART.has(`${room} ${targetRoom}`);
  return isApart ? `${room} does not import ${targetRoom}` : null;
}

/** Rooms of one layer may use each other, but not in a circle. */
function roomCycles(files: readonly ParsedFile[]): Violation[] {
  const edges = files.flatMap(({ file, imports }) =>
    imports.flatMap(({ specifier, line }) => {
      const target = targetOf(file, specifier);
      const [from, to] = [roomOf(file), target === null ? null : roomOf(target)];
      return from !== null && to !== null && from !== to && layerOf(from) === layerOf(to)
        ? [{ file, line, from, to }]
        : [];
    }),
  );
  const reaches = (from: string, goal: string, seen: ReadonlySet<string>): boolean =>
    from === goal ||
    edges.some(
      (edge) => edge.from === from && !seen.has(edge.to) && reaches(edge.to, goal, new Set([...seen, edge.to])),
    );
  return edges
    .filter(({ from, to }) => reaches(to, from, new Set([to])))
    .map(({ file, line, from, to }) => ({ file, line, rule: 'arrows', what: `${from} and ${to} import in a circle` }));
}

/** No file may reach itself by its imports, not even by those of types. */
function fileCycles(files: readonly ParsedFile[]): Violation[] {
  const targets = new Map(
    files.map(({ file, imports }) => [file, imports.flatMap(({ specifier }) => targetOf(file, specifier) ?? [])]),
  );
  const reachable = (start: string): ReadonlySet<string> => {
    const seen = new Set<string>();
    const next = [...(targets.get(start) ?? [])];
    for (let file = next.pop(); file !== undefined; file = next.pop()) {
      if (seen.has(file)) continue;
      seen.add(file);
      next.push(...(targets.get(file) ?? []));
    }
    return seen;
  };
  return files.flatMap(({ file, imports }) =>
    imports.flatMap(({ specifier, line }) => {
      const target = targetOf(file, specifier);
      const isCircle = target !== null && target !== file && reachable(target).has(file);
      return isCircle ? [{ file, line, rule: 'circles', what: `${target} imports it in turn` }] : [];
    }),
  );
}

/** What a file exports under a name of its own; what it passes on from another is the same thing. */
function exportedNames({ text, nodes }: ParsedFile): readonly { readonly name: string; readonly line: number }[] {
  const exports = nodes.filter(({ type, source }) => type === 'ExportNamedDeclaration' && !isNode(source));
  return exports.flatMap(({ start, declaration, specifiers }) => {
    const declared = isNode(declaration) ? [declaration, ...nodesIn(declaration.declarations)] : [];
    const names = [...declared.map(({ id }) => id), ...nodesIn(specifiers).map(({ exported }) => exported)];
    return names.flatMap((name) =>
      isNode(name) && typeof name.name === 'string' ? [{ name: name.name, line: lineAt(text, start) }] : [],
    );
  });
}

function nodesIn(value: unknown): readonly Node[] {
  return Array.isArray(value) ? value.filter(isNode) : [];
}

/** How a kind of value is written down, in SQL here and in JSON or on a terminal there: the same idea in two notations. */
const IN_TWO_NOTATIONS: ReadonlySet<string> = new Set(['text', 'oneOf', 'table']);

/** A name means one thing in the whole program. A file may give it to a value and its type. */
function doubleNames(files: readonly ParsedFile[]): Violation[] {
  const exported = files
    .flatMap((parsed) => exportedNames(parsed).map((one) => ({ ...one, file: parsed.file })))
    .filter(({ name }) => !IN_TWO_NOTATIONS.has(name));
  return [...Map.groupBy(exported, ({ name }) => name)].flatMap(([name, places]) => {
    const [first, ...others] = places;
    return others
      .filter(({ file }) => file !== first?.file)
      .map(({ file, line }) => ({ file, line, rule: 'names', what: `${name} means something else in ${first?.file}` }));
  });
}

/** Functions with a body or a signature; a function that is an argument itself has the parameters that its caller gives it. */
const TAKES_PARAMETERS =
  /^(?:FunctionDeclaration|FunctionExpression|ArrowFunctionExpression|TSMethodSignature|TSFunctionType)$/;

function longParameterLists(files: readonly ParsedFile[]): Violation[] {
  return files.flatMap(({ file, text, nodes }) => {
    const callbacks = new Set(nodes.flatMap(callbacksOf));
    return nodes
      .filter((node) => TAKES_PARAMETERS.test(node.type) && !callbacks.has(node))
      .map((node) => ({ line: lineAt(text, node.start), count: nodesIn(node.params).length }))
      .filter(({ count }) => count > MAX_PARAMETERS)
      .map(({ line, count }) => ({
        file,
        line,
        rule: 'parameters',
        what: `${count} parameters; ${MAX_PARAMETERS} are the most, so pass one object with names`,
      }));
  });
}

/** The arguments of a call, without the `satisfies` that may name their type. */
function callbacksOf(node: Node): readonly Node[] {
  if (node.type !== 'CallExpression') return [];
  return nodesIn(node.arguments).map((argument) =>
    argument.type === 'TSSatisfiesExpression' && isNode(argument.expression)
      ? unwrapped(argument.expression)
      : argument,
  );
}

function unwrapped(node: Node): Node {
  return node.type === 'ParenthesizedExpression' && isNode(node.expression) ? node.expression : node;
}

/** Composition roots, commands and files that are also run by themselves speak to a person. */
function mayUseConsole({ file, text }: ParsedFile): boolean {
  if (SPEAKERS.has(file)) return true;
  return roomOf(file) === 'roots' || roomOf(file) === 'commands' || text.includes('import.meta.main');
}

function isText(node: Node): boolean {
  return node.type === 'TemplateLiteral' || (node.type === 'Literal' && typeof node.value === 'string');
}

function isNamed(value: unknown, name: string): boolean {
  return isNode(value) && value.type === 'Identifier' && value.name === name;
}

function nodeProblems(file: string, node: Node, mayUseConsole: boolean): [rule: string, what: string][] {
  const problems: [string, string][] = [];
  if (node.type === 'TSAnyKeyword') problems.push(['any', 'the type any']);
  if (node.type === 'MemberExpression' && isNamed(node.object, 'console') && !mayUseConsole) {
    problems.push(['console', 'console outside composition roots and commands']);
  }
  if (file !== ONLY_IN.environment && readsEnvironment(node)) {
    problems.push(['environment', `only ${ONLY_IN.environment} reads the environment`]);
  }
  if (file !== ONLY_IN.clock && asksForTime(node)) {
    problems.push(['clock', `only ${ONLY_IN.clock} asks for the time of day`]);
  }
  return problems;
}

function readsEnvironment(node: Node): boolean {
  switch (node.type) {
    case 'MemberExpression':
      return isNamed(node.object, 'process') && isNamed(node.property, 'env');
    case 'VariableDeclarator':
      return isNamed(node.init, 'process');
    case 'ImportSpecifier':
      return isNamed(node.imported, 'env');
    default:
      return false;
  }
}

function asksForTime(node: Node): boolean {
  const { type, callee } = node;
  const hasArguments = Array.isArray(node.arguments) && node.arguments.length > 0;
  if (type === 'NewExpression') return isNamed(callee, 'Date') && !hasArguments;
  if (type !== 'CallExpression') return false;
  if (isNamed(callee, 'Date')) return true;
  return isNode(callee) && isNamed(callee.object, 'Date') && isNamed(callee.property, 'now');
}

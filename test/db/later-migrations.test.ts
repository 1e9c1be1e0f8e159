import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SPREAD } from '../../src/db/backend.ts';
import { MIGRATIONS_DIR } from '../../src/db/schema.ts';

/**
 * `npm run migrate` runs on a database whose tables are spread over a Citus cluster as well (docs/decisions/0050-citus.md). Citus carries the
 * statements to the nodes, but not each: of a table that is spread, a column comes first and a named constraint after. test/citus runs every
 * later migration on a cluster; this tells without one. Those that landed before the rule are run before tables are spread.
 */
const LAST_BEFORE_THE_RULE = '0118';

const OF_MERCHANTS = ['merchant', ...SPREAD];
const CONSTRAINT = /\b(?:check\s*\(|references\b|unique\b|primary key\b|exclude\b)/;
/** What stands in a body that Postgres runs later, and what is said about it. */
const ASIDE = /--.*$|\$(\w*)\$[\s\S]*?\$\1\$|'(?:[^']|'')*'/gm;
const ALTER = /\balter table (?:if exists )?(?:only )?(?:public\.)?(\w+)\s+([^;]*)/g;

const TRIGGER = /\bcreate (?:or replace )?trigger (\w+) (?:before|after) ([^;]*?) on (?:public\.)?(\w+)/g;
const DROP_TRIGGER = /\bdrop trigger (?:if exists )?(\w+) on (?:public\.)?(\w+)/g;

const plain = (sql: string) => sql.toLowerCase().replaceAll(ASIDE, "''").replaceAll(/\s+/g, ' ');

/** The triggers of tables, each with what it is fired by, as a file makes them. */
const triggersOf = (sql: string) =>
  [...plain(sql).matchAll(TRIGGER)].map(([, name = '', events = '', table = '']) => ({ name, events, table }));

/** The actions of an ALTER TABLE, which commas divide that stand in no parentheses. */
function actionsOf(list: string): readonly string[] {
  const actions = [''];
  let depth = 0;
  for (const letter of list) {
    if (letter === '(') depth += 1;
    if (letter === ')') depth -= 1;
    if (letter === ',' && depth === 0) actions.push('');
    else actions.push(`${actions.pop()}${letter}`);
  }
  return actions.map((action) => action.trim());
}

/**
 * Triggers that a node would not get, or would keep: Citus leaves its own parts of a table aside where a trigger is fired by TRUNCATE as well as by
 * others. A table that comes with it is not spread before it has its triggers.
 */
function keptFromNodes(sql: string, earlier: readonly string[]): readonly string[] {
  const made = triggersOf(sql).filter(
    ({ events, table }) =>
      /\btruncate\b/.test(events) &&
      events.trim() !== 'truncate' &&
      OF_MERCHANTS.includes(table) &&
      !new RegExp(`\\bcreate table (?:if not exists )?${table}\\b`).test(plain(sql)),
  );
  const dropped = [...plain(sql).matchAll(DROP_TRIGGER)].filter(([, name = '']) => earlier.includes(name));
  return [
    ...made.map(({ name }) => `${name} is made on the coordinator alone`),
    ...dropped.map(([, name]) => `${name} stays on the nodes`),
  ];
}

/** What Citus would refuse of a migration, each with its table. */
function refused(sql: string): readonly string[] {
  return [...plain(sql).matchAll(ALTER)].flatMap(([, table = '', list = '']) => {
    if (!OF_MERCHANTS.includes(table)) return [];
    const actions = actionsOf(list);
    const columns = actions.filter((one) =>
      /^add (?!constraint\b|check\b|foreign\b|unique\b|primary\b|exclude\b)/.test(one),
    );
    const named = actions.filter((one) => /^add constraint \w/.test(one));
    const unnamed = actions.filter((one) => /^add (?:check|foreign|unique|primary|exclude)\b/.test(one));
    return [
      ...(unnamed.length > 0 ? [`${table}: a constraint without a name`] : []),
      ...(columns.some((one) => CONSTRAINT.test(one)) ? [`${table}: a column with its constraint`] : []),
      ...(columns.length > 0 && named.length > 0 ? [`${table}: a column and a constraint in one statement`] : []),
    ];
  });
}

const files = (await readdir(MIGRATIONS_DIR)).filter((file) => file.endsWith('.sql')).toSorted();
const later = files.filter((file) => file.slice(0, 4) > LAST_BEFORE_THE_RULE);
const sqlOf = (file: string) => readFile(join(MIGRATIONS_DIR, file), 'utf8');

describe('a migration after tables were spread', () => {
  it.each(later)('%s adds a column first, and a named constraint after', async (file) => {
    expect(refused(await sqlOf(file))).toEqual([]);
  });

  it.each(later)('%s makes and drops triggers that the nodes follow', async (file) => {
    const all = triggersOf((await Promise.all(files.map(sqlOf))).join('\n'));
    const earlier = all.filter(({ events }) => /\bor truncate\b|\btruncate or\b/.test(events)).map(({ name }) => name);
    expect(earlier).toContain('entry_is_insert_only');
    expect(keptFromNodes(await sqlOf(file), earlier)).toEqual([]);
  });

  it.each([
    [
      'create trigger a before delete or truncate on entry for each statement execute function f();',
      ['a is made on the coordinator alone'],
    ],
    [
      'create table lot (a int);\ncreate trigger a before delete or truncate on lot for each statement execute function f();',
      [],
    ],
    ['create trigger a before delete on entry for each statement execute function f();', []],
    ['create trigger a before truncate on entry for each statement execute function f();', []],
    ['create trigger a before delete or truncate on source for each statement execute function f();', []],
    ['drop trigger b on entry; drop trigger c on entry;', ['b stays on the nodes']],
  ])('is judged: %s', (sql, expected) => {
    expect(keptFromNodes(sql, ['b'])).toEqual(expected);
  });

  it.each([
    [
      'alter table wallet add column a int not null default 5;\nalter table wallet add constraint wallet_a check (a > 0) not valid;',
      [],
    ],
    ['alter table wallet add column a int, add column b numeric(3, 1);', []],
    ['alter table only public.entry validate constraint entry_adds_up, set (fillfactor = 80);', []],
    ['alter table source add column a int check (a > 0);', []],
    ['-- alter table wallet add check (true);\nselect $$ alter table wallet add check (true) $$;', []],
    ['alter table wallet add a int', []],
    ['alter table wallet add column a int check (a > 0);', ['wallet: a column with its constraint']],
    ['ALTER TABLE merchant ADD b text REFERENCES source (x);', ['merchant: a column with its constraint']],
    ['alter table wallet\n  add check (balance > 0);', ['wallet: a constraint without a name']],
    ['alter table lot add foreign key (merchant_id) references merchant;', ['lot: a constraint without a name']],
    [
      'alter table wallet add column a int, add constraint wallet_a check (a > 0) not valid;',
      ['wallet: a column and a constraint in one statement'],
    ],
  ] as const)('is judged: %s', (sql, expected) => {
    expect(refused(sql)).toEqual(expected);
  });
});

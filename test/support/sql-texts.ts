import { parseAst } from 'vitest/node';

/** Where a source file says something to the database. */
export interface SqlPlaces {
  /** How many statements it declares. */
  readonly declared: number;
  /** SQL outside of a declaration, and calls of `.query`: `12  select 1 …`. */
  readonly undeclared: readonly string[];
}

/** How SQL begins, as far as no sentence does. */
const SQL =
  /^\s*(?:select\s|insert\s+into\s|update\s+\S+(?:\s+(?:as\s+)?\w+)?\s+set\s|delete\s+from\s|truncate\s|with\s+(?:recursive\s+)?\w+\s+(?:\([^)]*\)\s+)?as\s*\(|set\s+local\s|lock\s+table\s)/i;

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** Reads one file's code; what comments say does not count. */
export function sqlPlaces(source: string): SqlPlaces {
  let declared = 0;
  const undeclared: string[] = [];
  const visit = (value: unknown, isDeclared: boolean): void => {
    if (Array.isArray(value)) for (const one of value) visit(one, isDeclared);
    else if (isNode(value)) {
      const declares = isCallOf(value, 'statement');
      if (declares) declared += 1;
      const text = source.slice(value.start, value.end);
      const line = source.slice(0, value.start).split('\n').length;
      if (!isDeclared && (callsQuery(value) || (isText(value) && SQL.test(text.slice(1)))))
        undeclared.push(`${line}  ${text.replaceAll(/\s+/g, ' ').slice(0, 80)}`);
      for (const child of Object.values(value)) if (typeof child === 'object') visit(child, isDeclared || declares);
    }
  };
  visit(parseAst(source, { lang: 'ts' }), false);
  return { declared, undeclared };
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}

function isText(node: Node): boolean {
  return node.type === 'TemplateLiteral' || (node.type === 'Literal' && typeof node.value === 'string');
}

function isCallOf(node: Node, name: string): boolean {
  return node.type === 'CallExpression' && isNode(node.callee) && node.callee.name === name;
}

function callsQuery(node: Node): boolean {
  if (node.type !== 'CallExpression' || !isNode(node.callee)) return false;
  const { property } = node.callee;
  return isNode(property) && (property.name === 'query' || property.name === 'executeSql');
}

/**
 * What Postgres reads as one piece, so that no semicolon in it ends a statement. What is not closed reaches to the end, and Postgres says what is
 * wrong. Words come last but one, so that neither the `e` nor the `$` within one is taken for the beginning of a text.
 */
const PIECE = new RegExp(
  [
    String.raw`--[^\n\r]*`,
    String.raw`(?<comment>\/\*)`,
    // One that goes on in the next line is still of this kind.
    String.raw`e'(?:[^'\\]|\\[^]|''|'\s*[\n\r]\s*')*(?:'|\\?$)`,
    `'(?:[^']|'')*(?:'|$)`,
    `"(?:[^"]|"")*(?:"|$)`,
    String.raw`\$(?<tag>(?:[a-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[^]*?(?:\$\k<tag>\$|$)`,
    String.raw`[a-z_\u0080-\uffff][\w$\u0080-\uffff]*`,
    String.raw`(?<other>\S)`,
  ].join('|'),
  'gi',
);
const COMMENT_EDGE = /\/\*|\*\//g;

/**
 * The statements of a file, each with the comments before it. One that has statements within it (`begin atomic`) is not known here: Postgres
 * refuses its parts.
 */
export function statementsOf(sql: string): readonly string[] {
  const statements: string[] = [];
  let from = 0;
  let isEmpty = true;
  let depth = 0;
  const end = (at: number): void => {
    if (!isEmpty) statements.push(sql.slice(from, at).trim());
    from = at;
    isEmpty = true;
  };
  PIECE.lastIndex = 0;
  for (let piece = PIECE.exec(sql); piece !== null; piece = PIECE.exec(sql)) {
    const { comment, other } = piece.groups ?? {};
    if (comment !== undefined) PIECE.lastIndex = endOfComment(sql, piece.index);
    if (comment !== undefined || piece[0].startsWith('--')) continue;
    if (other === '(') depth += 1;
    if (other === ')') depth -= 1;
    if (other === ';' && depth === 0) end(PIECE.lastIndex);
    else isEmpty = false;
  }
  end(sql.length);
  return statements;
}

/** Comments of this kind lie within each other. */
function endOfComment(sql: string, start: number): number {
  let depth = 0;
  COMMENT_EDGE.lastIndex = start;
  for (let edge = COMMENT_EDGE.exec(sql); edge !== null; edge = COMMENT_EDGE.exec(sql)) {
    depth += edge[0] === '/*' ? 1 : -1;
    if (depth === 0) return COMMENT_EDGE.lastIndex;
  }
  return sql.length;
}

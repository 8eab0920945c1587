// Next.js sets each header of a route handler as a list of one value.
export const dynamic = 'force-dynamic';

export function GET() {
  const headers = { 'content-type': 'application/json', etag: '"v1"', 'cache-control': 'public, max-age=60' };
  return new Response(JSON.stringify({ text: 'x'.repeat(5000) }), { headers });
}

// Connections that only take place: TLS handshakes after which nothing is said, and requests that come a byte at a time.
import { connect, type TLSSocket } from 'node:tls'
import type { Server } from './client.js'

export interface Idlers { open(): number; close(): void }

/** Opens `idle` connections without a word, and `slow` that send the head of a request without end; each that is closed is opened again. */
export async function openIdlers(server: Server, idle: number, slow: number): Promise<Idlers> {
  const sockets = new Set<TLSSocket>()
  let going = true
  const one = (slowly: boolean): Promise<void> => new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: server.port, rejectUnauthorized: false })
    let timer: NodeJS.Timeout | undefined
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('secureConnect', () => {
      if (slowly) {
        socket.write('POST / HTTP/1.1\r\nX: ')
        timer = setInterval(() => { socket.write('y') }, 200)
      }
      resolve()
    })
    socket.on('close', () => {
      clearInterval(timer)
      sockets.delete(socket)
      resolve()
      if (going) setTimeout(() => { void one(slowly) }, 50)
    })
  })
  for (let n = 0; n < idle + slow; n += 50) await Promise.all(Array.from({ length: Math.min(50, idle + slow - n) }, (_, i) => one(n + i >= idle)))
  return {
    open: () => sockets.size,
    close() {
      going = false
      for (const socket of sockets) socket.destroy()
    },
  }
}

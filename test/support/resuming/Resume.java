import java.io.DataInputStream;
import java.io.FileInputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** Logs in to 127.0.0.1:PORT again and again with one SSLContext: java Resume.java PORT CA-FILE TIMES. */
class Resume {
  public static void main(String[] arguments) throws Exception {
    SSLContext context = context(arguments[1]);
    for (int count = Integer.parseInt(arguments[2]); count > 0; count--) {
      login(context, Integer.parseInt(arguments[0]));
    }
  }

  static SSLContext context(String file) throws Exception {
    KeyStore authorities = KeyStore.getInstance(KeyStore.getDefaultType());
    authorities.load(null);
    try (FileInputStream stream = new FileInputStream(file)) {
      authorities.setCertificateEntry(
          "ca", CertificateFactory.getInstance("X.509").generateCertificate(stream));
    }
    TrustManagerFactory trust =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(authorities);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    return context;
  }

  static void login(SSLContext context, int port) throws Exception {
    try (Socket plain = new Socket("127.0.0.1", port)) {
      plain.getOutputStream().write(packet(80877103, ""));
      plain.getInputStream().read();
      SSLSocket socket =
          (SSLSocket) context.getSocketFactory().createSocket(plain, "localhost", port, true);
      OutputStream out = socket.getOutputStream();
      out.write(packet(196608, "user\0trusted\0database\0postgres\0\0"));
      DataInputStream in = new DataInputStream(socket.getInputStream());
      int type;
      do {
        type = in.readByte();
        in.readNBytes(in.readInt() - 4);
      } while (type != 'Z');
      out.write(new byte[] {'X', 0, 0, 0, 4});
      socket.close();
    }
  }

  static byte[] packet(int code, String body) {
    byte[] bytes = body.getBytes(StandardCharsets.US_ASCII);
    return ByteBuffer.allocate(8 + bytes.length).putInt(8 + bytes.length).putInt(code).put(bytes).array();
  }
}

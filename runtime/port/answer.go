package port

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// acknowledge checks SETTINGS (RFC 9113, section 6.5) and answers them.
func (s *sniffer) acknowledge(f frame) error {
	switch ack := f.flags&flagAck != 0; {
	case f.stream != 0:
		return protocolError{codeProtocol, "SETTINGS on a stream"}
	case len(f.payload)%6 != 0 || ack && len(f.payload) > 0:
		return protocolError{codeFrameSize, "SETTINGS of a wrong length"}
	case ack:
		return nil
	}
	for b := f.payload; len(b) > 0; b = b[6:] {
		if err := checkSetting(binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])); err != nil {
			return err
		}
	}
	s.reply = append(s.reply, settingsAck[:]...)
	if s.first == 0 {
		s.first = s.off - len(f.payload)
		return nil
	}
	return s.merge(f)
}

// merge moves the values of a later SETTINGS frame into the first.
func (s *sniffer) merge(f frame) error {
	was := int(binary.BigEndian.Uint16(s.buf[s.first-8:]))
	if was+len(f.payload) > 6*maxSettings {
		return protocolError{codeEnhanceYourCalm, "too many settings"}
	}
	all := slices.Clone(s.buf[s.first : s.first+was])
	for b := f.payload; len(b) > 0; b = b[6:] {
		all = put(all, b[:6])
	}
	s.cut(f)
	s.buf = slices.Replace(s.buf, s.first, s.first+was, all...)
	s.off += len(all) - was
	binary.BigEndian.PutUint16(s.buf[s.first-8:], uint16(len(all)))
	return nil
}

// put changes a setting. The last value counts, but of the size of the header table the least: the
// client has to be told of that.
func put(all, setting []byte) []byte {
	found := false
	for b := all; len(b) > 0; b = b[6:] {
		if !bytes.Equal(b[:2], setting[:2]) {
			continue
		}
		found = true
		isTable := binary.BigEndian.Uint16(b) == settingHeaderTableSize
		if !isTable || bytes.Compare(setting[2:], b[2:6]) < 0 {
			copy(b, setting)
		}
	}
	if !found {
		all = append(all, setting...)
	}
	return all
}

// cut takes the frame that was read last out of what is replayed.
func (s *sniffer) cut(f frame) {
	begin := s.off - len(f.payload) - frameHeaderLen
	s.buf = slices.Delete(s.buf, begin, s.off)
	s.off = begin
}

var settingsAck = [frameHeaderLen]byte{3: frameSettings, 4: flagAck}

func checkSetting(id uint16, v uint32) error {
	switch {
	case id == settingEnablePush && v > 1, id == settingMaxFrameSize && (v < maxFrameLen || v >= 1<<24):
		return protocolError{codeProtocol, "setting out of range"}
	case id == settingInitialWindowSize && v > maxWindow:
		return protocolError{codeFlowControl, "window out of range"}
	}
	return nil
}

// answer answers a PING, and takes it out of what is replayed.
func (s *sniffer) answer(f frame) error {
	switch {
	case f.stream != 0:
		return protocolError{codeProtocol, "PING on a stream"}
	case len(f.payload) != 8:
		return protocolError{codeFrameSize, "PING of a wrong length"}
	case f.flags&flagAck != 0:
		return nil
	}
	s.reply = append(s.reply, 0, 0, 8, framePing, flagAck, 0, 0, 0, 0)
	s.reply = append(s.reply, f.payload...)
	s.cut(f)
	return nil
}

// widen checks a WINDOW_UPDATE (RFC 9113, section 6.9).
func (s *sniffer) widen(f frame) error {
	if len(f.payload) != 4 {
		return protocolError{codeFrameSize, "WINDOW_UPDATE of a wrong length"}
	}
	by := binary.BigEndian.Uint32(f.payload) &^ (1 << 31)
	if by == 0 || f.stream != 0 {
		return protocolError{codeProtocol, "WINDOW_UPDATE of nothing, or on an idle stream"}
	}
	if s.window += int64(by); s.window > maxWindow-defaultWindow {
		return protocolError{codeFlowControl, "window out of range"}
	}
	return nil
}
